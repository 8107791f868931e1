// Records clicks and keys while the scripts of the page are loading, and replays them then.

const KINDS = ["click", "dblclick", "keydown", "input", "change", "signalbox-menu"];
let kept = []; // { event, target, wasField }

/** Whether letters go into the element. */
export const isField = (element) => Boolean(element.matches?.("input:not([type=radio], [type=checkbox], [type=range]), textarea, select"));

function keep(event) {
  event.stopImmediatePropagation();
  if (event instanceof MouseEvent) event.preventDefault(); // done again, a box would be as before
  kept.push({ event, target: event.target, wasField: isField(event.target) });
}

/** Replay all recorded events in order, and stop recording. */
export function replay() {
  for (const kind of KINDS) document.removeEventListener(kind, keep, true);
  const all = kept;
  kept = [];
  for (const each of all) again(each);
}

// A key goes where the keys before it have led: what follows "/" is text.
function again({ event, target, wasField }) {
  const place = event.type === "keydown" ? document.activeElement : target;
  const isLeft = place.dispatchEvent(new event.constructor(event.type, event));
  const isText = event.type === "keydown" && event.key.length === 1 && !event.ctrlKey && !event.metaKey;
  if (isLeft && isText && !wasField && isField(place)) document.execCommand("insertText", false, event.key);
}

for (const kind of KINDS) document.addEventListener(kind, keep, true);
