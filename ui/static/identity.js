// The actor of this window: an id that the server assigns to no other open window, by which it undoes
// its own commands; the app names its windows in the address.

import { holdLock } from "./access.js";
import { setSignals } from "./signals.js";

const { node, window: assigned } = document.body.dataset;

async function chosen() {
  const named = /^#([\w-]{1,32})$/.exec(location.hash)?.[1];
  const isOurs = named && (!navigator.locks || (await holdLock(`window ${named}`)));
  return isOurs ? named : assigned;
}

// Not awaited here, or the whole page would wait. Where nodes share a store, each has windows of the
// same names.
chosen().then((id) => setSignals({ actor: node ? `window.${id}@${node}` : `window.${id}` }));
