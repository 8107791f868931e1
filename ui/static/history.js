// The inspected key's history: older versions, and one click that brings one back.

import { reason, send } from "./commands.js";
import { inspectedItem } from "./editor.js";
import { $, setSignals, byId, onChange, announce } from "./signals.js";
import { compact, exactly } from "./values.js";

const PAGE = 20; // versions listed at first
const MORE = 160; // by each "Show older"
const MAX_LISTED = 500; // as the server allows; then another list begins

/** List more versions; where the list is long already, those below the revision `last`. */
export function older(last) {
  if ($.versions < MAX_LISTED) setSignals({ versions: Math.min(MAX_LISTED, $.versions + MORE) });
  else setSignals({ before: last, versions: PAGE });
}

export function newest() {
  setSignals({ before: 0, versions: PAGE });
}

/** Make the inspected key what it was at `revision`, unless somebody has changed it meanwhile. */
export async function restoreVersion(revision) {
  const { key, revision: current } = inspectedItem();
  if (key !== $.key) return;
  showMessage("");
  const version = await versionAt(key, revision);
  if (!version) return showMessage("The server does not answer.");
  const expect = current ? { revision: current } : "absent";
  const command = version.deleted ? { type: "delete" } : { type: "set" };
  const raw = version.deleted ? undefined : compact(version.value);
  const outcome = await send({ ...command, key, expect }, raw);
  if (outcome.status === "accepted") announce(`${key} is what it was at revision ${revision.toLocaleString("en")}`);
  if (key === $.key) showMessage(reason(outcome));
}

// Values are fetched as they are needed: a history may be long, and each value large.
async function versionAt(key, revision) {
  const query = new URLSearchParams({ before: revision + 1, limit: 1 });
  try {
    const answer = await fetch(`/queries/history/${encodeURIComponent(key)}?${query}`);
    const [version] = answer.ok ? exactly(await answer.text()).items : [];
    return version?.revision === revision ? version : null;
  } catch {
    return null;
  }
}

function showMessage(text) {
  byId("history-said").textContent = text;
}

onChange(() => $.key, () => {
  showMessage("");
  if ($.before || $.versions !== PAGE) newest();
});
