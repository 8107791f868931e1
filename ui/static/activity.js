// Activity: whose attempts are listed, and how many rejections nobody has looked at yet.

import { $, setSignals, byId, onChange } from "./signals.js";

const STORED = `seen of ${document.body.dataset.store}`;
const OPENED = Date.now(); // a new run of the server is a new origin, where nothing is stored
const MOST = 100; // as many rejections as the server tells of

/** List only the attempts of `actor`; of everybody but the sources for "". */
export function by(actor) {
  setSignals({ by: actor, attempts: 100 });
}

byId("with-sources").addEventListener("change", ({ target }) => by(target.checked ? "*" : ""));

onChange(() => [$.view, $._rejected], ([view, rejected]) => {
  if (view === "activity" && rejected.length) localStorage.setItem(STORED, Math.max(...rejected));
  if (rejected.length && localStorage.getItem(STORED) === null) localStorage.setItem(STORED, OPENED - $._skew);
  const seen = Number(localStorage.getItem(STORED) ?? 0);
  const fresh = rejected.filter((at) => at > seen).length;
  $._news = fresh ? `${fresh < MOST ? fresh : "99+"} rejected` : "";
});
