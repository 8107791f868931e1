// Who this window is: an id that lasts over reloads and restarts, so that it can undo what it did,
// and that no other open window has.

import { ask } from "./picture.js";

const { store, node, window: fresh } = document.body.dataset;
const STORED = `windows of ${store}`;
const MOST = 20; // ids of closed windows that are remembered
const RELOAD_MS = 1_000; // until the page that was here before has let go of its id

const known = () => JSON.parse(localStorage.getItem(STORED) ?? "[]");

/** The id as a lock that is held for as long as the page lives; whether it could be had. */
function hold(id, patience) {
  const wish = patience ? { signal: AbortSignal.timeout(patience) } : { ifAvailable: true };
  return new Promise((answer) => {
    const until = (lock) => (answer(lock !== null), lock && new Promise(() => {}));
    navigator.locks.request(`window ${id} of ${store}`, wish, until).catch(() => answer(false));
  });
}

// The app names its window in the address; a reloaded page is who it was; a new one takes the place
// of the window that was there last and is closed now.
async function chosen() {
  const named = /^#([\w-]{1,32})$/.exec(location.hash)?.[1] ?? sessionStorage.getItem(STORED);
  if (!navigator.locks) return named ?? fresh;
  if (named && (await hold(named, RELOAD_MS))) return named;
  for (const id of known()) if (await hold(id)) return id;
  await hold(fresh);
  return fresh;
}

// Where nodes share a store, each has windows of the same names.
function keep(id) {
  ask({ actor: node ? `window.${id}@${node}` : `window.${id}` });
  sessionStorage.setItem(STORED, id);
  const others = known().filter((other) => other !== id);
  localStorage.setItem(STORED, JSON.stringify([id, ...others].slice(0, MOST)));
}

// Not awaited here, or the whole page would wait. Where nothing can be kept, it is a new window.
chosen().catch(() => fresh).then(keep);
