// The comparison of two moments: `compare(since, until, scope)` shows it, by the signals
// {view: "diff", since, until, scope}: revisions (until -1 is now), and "key", "prefix" or "all".

import { $, setSignals, now, onChange, announce } from "./signals.js";

const PAGE = 200;
const MAX_LISTED = 1_000; // as the server allows; then another list begins

/** Show what differs between two revisions; of the inspected key, its prefix, or everything. */
export function compare(since, until = -1, scope = $.key ? "key" : $.prefix ? "prefix" : "all") {
  setSignals({ view: "diff", since, until, scope, differences: PAGE, behind: "" });
}

/** Compare what was `ago` ms before now with now. */
export async function compareSince(ago) {
  const query = new URLSearchParams({ at: new Date(now() - ago).toISOString(), limit: 1 });
  const answer = await fetch(`/queries/state?${query}`).catch(() => null);
  if (answer?.ok) compare((await answer.json()).revision);
  else announce("The server does not answer.");
}

/** Compare a version of the inspected key with now; while comparing, with the other version. */
export function compareVersion(revision) {
  if ($.view !== "diff" || $.until >= 0 || $.since === revision) return compare(revision, -1, "key");
  compare(Math.min($.since, revision), Math.max($.since, revision), $.scope);
}

/** List more differences; where there are many already, those behind the key `last`. */
export function moreDifferences(last) {
  if ($.differences < MAX_LISTED) setSignals({ differences: Math.min(MAX_LISTED, 4 * $.differences) });
  else setSignals({ behind: last, differences: PAGE });
}

export function firstDifferences() {
  setSignals({ behind: "", differences: PAGE });
}

// What is no longer chosen cannot be compared.
onChange(() => [$.key, $.prefix, $.scope].join(" "), () => {
  if ($.scope === "key" && !$.key) setSignals({ scope: $.prefix ? "prefix" : "all" });
  else if ($.scope === "prefix" && !$.prefix) setSignals({ scope: "all" });
});
onChange(() => $.scope, () => $.behind && firstDifferences());
