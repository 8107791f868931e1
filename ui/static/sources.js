// Sources: switching a built-in producer of keys, and how often it looks.

import { reason } from "./commands.js";
import { watch } from "./palette.js";
import { byId, onPatch } from "./signals.js";

const list = () => byId("source-list");

/** Flip the source whose switch `element` is, or begin with it where `element` only offers it. */
export function flipSource(element) {
  setSource(element, element.ariaChecked !== "true", Number(element.dataset.every));
}

/** Let the source look every `seconds` from now on, whether or not it is on. */
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

// A patch moves the mark between the options, which a selector that was used does not follow.
function showPace() {
  const pace = list().querySelector("select");
  if (pace) pace.value = pace.dataset.every;
}
onPatch(showPace);
