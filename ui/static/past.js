// Earlier revisions: the time slider, steps from change to change, playing, and the return to live.

import { $, setSignals, byId, now, onChange, onPatch, announce } from "./signals.js";
import { save } from "./save.js";

const REQUEST_MS = 60; // between two requests while dragging
const PLAY_MS = 200; // between two moments while playing
const STEPS = 10_000; // of the slider, from its oldest moment to its end, a moment behind now
const STRIDE = STEPS / 100; // of an arrow key
const NOW_MS = 300; // a moment that is not longer ago counts as now

const slider = byId("time");
let range = { start: 0, end: 1 }; // what the slider covers, in ms
let isDragging = false;
let waiting = 0;
let requested = 0; // the moment to show next, 0 for none
let playing = 0;
let steppedTo = -1; // the revision that the last step has requested
let following = null; // a further step, until that revision has arrived

export const isPast = () => $.moment > 0 || $.at >= 0;

/** Show everything as it was at a time in ms. */
export function go(moment) {
  requested = 0;
  following = null;
  setSignals({ moment: Math.round(moment), at: -1, hold: false, ...closedForms() });
}

/** Show everything as of a revision. */
export function goTo(revision) {
  stop();
  requested = 0;
  steppedTo = revision;
  setSignals({ at: revision, moment: 0, hold: false, ...closedForms() });
}

// A form that changes the current state is closed.
const closedForms = () => (["create", "rename", "delete", "undo"].includes($._form) ? { _form: "" } : {});

/** Return to now; whether the past was shown, or was about to be. */
export function live() {
  stop();
  const was = isPast() || requested;
  requested = 0;
  following = null;
  if (!was) return false;
  setSignals({ at: -1, moment: 0, ...($._form === "restore" ? { _form: "" } : {}) });
  place();
  announce("Live");
  return true;
}

// The slider

const at = (value) => range.start + (range.end - range.start) * (value / STEPS);

onPatch(() => {
  const { start, end } = byId("ticks").dataset;
  range = { start: Number(start), end: Number(end) };
  if (!isDragging) place();
});
onChange(() => [$._pastAt, $.moment, $.at].join(" "), () => !isDragging && place());
onChange(() => $._past || ($._stale ? "Not current" : "Live"), (text) => slider.setAttribute("aria-valuetext", text));

function place() {
  const moment = $.moment || $._pastAt;
  const share = isPast() && moment ? (moment - range.start) / (range.end - range.start) : 1;
  slider.value = Math.round(Math.min(1, Math.max(0, share)) * STEPS);
  showShare();
}

function showShare() {
  slider.style.setProperty("--share", slider.value / STEPS);
}

// Streams are not opened more often than that, and the last moment is never left out.
function requestSoon(moment) {
  requested = moment;
  waiting ||= setTimeout(() => {
    waiting = 0;
    if (requested) go(requested);
  }, REQUEST_MS);
}

function slide(value) {
  stop();
  slider.value = value;
  showShare();
  // The end of the slider is now, also while its range is being updated.
  if (value === STEPS || at(value) > now() - NOW_MS) return live();
  requestSoon(at(value));
}

slider.addEventListener("pointerdown", () => (isDragging = true));
for (const name of ["pointerup", "pointercancel", "blur"]) slider.addEventListener(name, () => (isDragging = false));
slider.addEventListener("input", () => slide(Number(slider.value)));
slider.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
  if (by) slide(Math.min(STEPS, Math.max(0, Number(slider.value) + by * STRIDE)));
  else if (event.key === "Home") slide(0);
  else if (event.key === "End") live();
  else return;
  event.preventDefault();
});
byId("stretch").addEventListener("change", ({ target }) => setSignals({ stretch: target.value }));

// From change to change

/** Go to the previous or next change, of the inspected key or of any. */
export function step(forwards, ofKey = false) {
  stop();
  if (forwards && !isPast()) return;
  // The changes before and after are known only once the requested revision has arrived.
  if ($.at === steppedTo && $._pastRevision !== steppedTo) return (following = [forwards, ofKey]);
  following = null;
  const [before, after, earlier, later] = $._steps;
  const revision = forwards ? (ofKey ? later : after) : ofKey ? earlier : before;
  if (revision !== null && revision !== undefined) return goTo(revision);
  if (forwards) return live();
  announce(ofKey ? `${$.key || "What is chosen"} has no earlier change` : "There is no earlier change");
}

onChange(() => $._steps.join(), () => following && step(...following));

// Playing

export function play(speed = Number(byId("speed").value)) {
  if (!isPast()) return;
  stop();
  let moment = requested || $.moment || $._pastAt;
  let last = performance.now();
  playing = setInterval(() => {
    const passed = performance.now() - last;
    moment += passed * speed;
    last += passed;
    if (moment > now() - NOW_MS) live();
    else go(moment);
  }, PLAY_MS);
  byId("play").setAttribute("aria-pressed", "true");
}

/** Stop playing; whether it did. */
export function stop() {
  if (!playing) return false;
  clearInterval(playing);
  playing = 0;
  byId("play").setAttribute("aria-pressed", "false");
  return true;
}

export const playOrStop = () => stop() || play();
byId("speed").addEventListener("change", () => playing && play());

// The moment as a file

byId("save").addEventListener("change", async ({ target }) => {
  const format = target.value;
  target.value = "";
  const name = `signalbox-${$._pastRevision}.${format}`;
  const problem = await save({ format, at: $._pastRevision, match: $._match }, name);
  if (problem) announce(`${name} was not saved. ${problem}`);
});
