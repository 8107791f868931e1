// Activity: whose attempts are listed, and how many rejections nobody has seen yet.

import { $, setSignals, byId, onChange } from "./signals.js";

const SEEN_KEY = `seen of ${document.body.dataset.store}`;
const OPENED = Date.now(); // a new run of the server is a new origin, where nothing is stored
const MAX_REJECTIONS = 100; // more are not sent

/** List only the attempts of `actor`; of everybody but the sources for "". */
export function by(actor) {
  setSignals({ by: actor, attempts: 100 });
}

byId("with-sources").addEventListener("change", ({ target }) => by(target.checked ? "*" : ""));

onChange(() => [$.view, $._rejected], ([view, rejected]) => {
  if (view === "activity" && rejected.length) localStorage.setItem(SEEN_KEY, Math.max(...rejected));
  if (rejected.length && localStorage.getItem(SEEN_KEY) === null) localStorage.setItem(SEEN_KEY, OPENED - $._skew);
  const seen = Number(localStorage.getItem(SEEN_KEY) ?? 0);
  const unseen = rejected.filter((at) => at > seen).length;
  $._news = unseen ? `${unseen < MAX_REJECTIONS ? unseen : "99+"} rejected` : "";
});
