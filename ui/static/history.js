// The inspected key's history: older versions, and one click that brings one back.

import { reason, send } from "./commands.js";
import { fact } from "./editor.js";
import { $, setSignals, byId, onChange, announce } from "./signals.js";
import { compact, exactly } from "./values.js";

const PAGE = 20; // versions listed at first
const MORE = 160; // by each "Show older"
const MOST = 500; // as the server allows; then another list begins

/** List more versions; where the list is long already, those below the revision `last`. */
export function older(last) {
  if ($.versions < MOST) setSignals({ versions: Math.min(MOST, $.versions + MORE) });
  else setSignals({ before: last, versions: PAGE });
}

export function newest() {
  setSignals({ before: 0, versions: PAGE });
}

/** Make the inspected key what it was at `revision`, unless somebody has changed it meanwhile. */
export async function restoreVersion(revision) {
  const { key, revision: current } = fact();
  if (key !== $.key) return;
  showMessage("");
  const version = await one(key, revision);
  if (!version) return showMessage("The server does not answer.");
  const expect = current ? { revision: current } : "absent";
  const command = version.deleted ? { type: "delete" } : { type: "set" };
  const raw = version.deleted ? undefined : compact(version.value);
  const outcome = await send({ ...command, key, expect }, raw);
  if (outcome.status === "accepted") announce(`${key} is what it was at revision ${revision.toLocaleString("en")}`);
  if (key === $.key) showMessage(reason(outcome));
}

// Values are asked for as they are needed: a history may be long, and each value large.
async function one(key, revision) {
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
