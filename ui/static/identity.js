// The actor of this window: an id that the server assigns to no other open window, by which it undoes
// its own commands; the app names its windows in the address.

import { hold } from "./access.js";
import { setSignals } from "./signals.js";

const { node, window: given } = document.body.dataset;

async function chosen() {
  const named = /^#([\w-]{1,32})$/.exec(location.hash)?.[1];
  const isOurs = named && (!navigator.locks || (await hold(`window ${named}`)));
  return isOurs ? named : given;
}

// Not awaited here, or the whole page would wait. Where nodes share a store, each has windows of the
// same names.
chosen().then((id) => setSignals({ actor: node ? `window.${id}@${node}` : `window.${id}` }));
