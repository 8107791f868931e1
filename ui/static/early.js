// Records clicks and keys while the scripts of the page are loading, and replays them then.

const KINDS = ["click", "dblclick", "keydown", "input", "change", "signalbox-menu"];
let recorded = []; // { event, target, wasField }

/** Whether letters go into the element. */
export const isField = (element) => Boolean(element.matches?.("input:not([type=radio], [type=checkbox], [type=range]), textarea, select"));

function record(event) {
  event.stopImmediatePropagation();
  if (event instanceof MouseEvent) event.preventDefault(); // else a check box would change twice
  recorded.push({ event, target: event.target, wasField: isField(event.target) });
}

/** Replay all recorded events in order, and stop recording. */
export function replay() {
  for (const kind of KINDS) document.removeEventListener(kind, record, true);
  const all = recorded;
  recorded = [];
  for (const each of all) dispatchAgain(each);
}

// A key goes to the element that has the focus by then: what follows "/" is text.
function dispatchAgain({ event, target, wasField }) {
  const place = event.type === "keydown" ? document.activeElement : target;
  const isLeft = place.dispatchEvent(new event.constructor(event.type, event));
  const isText = event.type === "keydown" && event.key.length === 1 && !event.ctrlKey && !event.metaKey;
  if (isLeft && isText && !wasField && isField(place)) document.execCommand("insertText", false, event.key);
}

for (const kind of KINDS) document.addEventListener(kind, record, true);
