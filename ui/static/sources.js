// Sources: switching a built-in producer of keys, and how often it measures.

import { reason } from "./commands.js";
import { watch } from "./palette.js";
import { byId, onPatch } from "./signals.js";

const list = () => byId("source-list");

/** Switch the source of the switch `element`, or switch it on where `element` is the first offer of it. */
export function flipSource(element) {
  setSource(element, element.ariaChecked !== "true", Number(element.dataset.every));
}

/** Let the source measure every so many `seconds` from now on, whether or not it is on. */
export function paceSource(seconds) {
  const control = list().querySelector(".switch");
  setSource(control, control.ariaChecked === "true", seconds, control.dataset.node);
}

async function setSource(element, enabled, every, node) {
  const { revision } = element.dataset;
  element.setAttribute("aria-busy", "true");
  const outcome = await watch(enabled, every, revision && Number(revision), node);
  element.removeAttribute("aria-busy");
  const line = list().querySelector(".said");
  if (line) line.textContent = reason(outcome);
  showPace();
}

// A patch moves the attribute `selected`, which a select element that was used ignores.
function showPace() {
  const pace = list().querySelector("select");
  if (pace) pace.value = pace.dataset.every;
}
onPatch(showPace);
