// Who this window is: the id that the server gives to no other open window, under which it undoes
// what it did; the app names its windows in the address.

import { hold } from "./access.js";
import { ask } from "./picture.js";

const { node, window: given } = document.body.dataset;

async function chosen() {
  const named = /^#([\w-]{1,32})$/.exec(location.hash)?.[1];
  const isOurs = named && (!navigator.locks || (await hold(`window ${named}`)));
  return isOurs ? named : given;
}

// Not awaited here, or the whole page would wait. Where nodes share a store, each has windows of the
// same names.
chosen().then((id) => ask({ actor: node ? `window.${id}@${node}` : `window.${id}` }));
