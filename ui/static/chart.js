// The inspector's chart: the value at a point, by pointer and by the arrow keys; a click or Enter
// shows that moment.

import { goTo } from "./past.js";
import { byId, onPatch } from "./signals.js";

const reading = byId("reading");
const cross = byId("cross");
const plot = () => byId("plot");
const field = () => plot().querySelector(".field");
let readIndex = -1; // of the point that is read; -1 where none is
let pointerAt = -1; // in thousandths of the width; -1 where the keyboard moves
let source = "";
let points = [];

/** The points that can be read: [thousandth of the width, revision, time, value]. */
function readablePoints() {
  const text = plot()?.dataset.points ?? "[]";
  if (text !== source) [source, points] = [text, JSON.parse(text)];
  return points;
}

// The value at a place is that of the last change before it.
const nearest = (x) => readablePoints().findLastIndex((point) => point[0] <= x);

function read(i, x) {
  const point = readablePoints()[i];
  readIndex = point ? i : -1;
  reading.hidden = cross.hidden = !point;
  if (!point) return;
  const [, , when, what] = point;
  if (reading.textContent !== what) reading.textContent = what;
  byId("when").textContent = when;
  plot().setAttribute("aria-valuenow", i);
  plot().setAttribute("aria-valuetext", `${when}: ${what}`);
  const box = field().getBoundingClientRect();
  const frame = cross.offsetParent.getBoundingClientRect();
  cross.style.left = `${box.left - frame.left + (box.width * x) / 1000}px`;
  cross.style.top = `${box.top - frame.top}px`;
  // The time stands below the line, within the chart.
  const half = byId("when").offsetWidth / 2;
  const middle = Math.max(half, Math.min(box.width - half, (box.width * x) / 1000));
  byId("when").style.left = `${middle - half - (box.width * x) / 1000}px`;
}

function leave() {
  pointerAt = -1;
  read(-1);
}

const charts = byId("charts");
charts.addEventListener("pointermove", (event) => {
  if (!event.target.closest("#plot")) return pointerAt >= 0 && leave();
  const box = field().getBoundingClientRect();
  pointerAt = Math.max(0, Math.min(1000, ((event.clientX - box.left) / box.width) * 1000));
  read(nearest(pointerAt), pointerAt);
});
charts.addEventListener("click", ({ target }) => target.closest("#plot") && enter());
charts.addEventListener("pointerleave", () => pointerAt >= 0 && leave());
charts.addEventListener("focusout", leave);
charts.addEventListener("focusin", ({ target }) => target === plot() && pointerAt < 0 && walk(readablePoints().length - 1));

function walk(i) {
  const to = Math.max(0, Math.min(i, readablePoints().length - 1));
  pointerAt = -1;
  read(to, readablePoints()[to]?.[0]);
}

/** Show everything as it was at the point that is read. */
function enter() {
  const revision = readablePoints()[readIndex]?.[1];
  if (revision) goTo(revision);
}

const MOVES = {
  ArrowRight: () => readIndex + 1,
  ArrowUp: () => readIndex + 1,
  ArrowLeft: () => readIndex - 1,
  ArrowDown: () => readIndex - 1,
  PageUp: () => readIndex + 10,
  PageDown: () => readIndex - 10,
  Home: () => 0,
  End: () => readablePoints().length - 1,
};

charts.addEventListener("keydown", (event) => {
  const isEnter = event.key === "Enter";
  if (event.target !== plot() || !(MOVES[event.key] || isEnter) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (isEnter) enter();
  else walk(MOVES[event.key]());
});

// A new chart below the pointer, or below the point that the keyboard is on.
onPatch(() => {
  if (readIndex < 0 || source === plot()?.dataset.points) return;
  const [x, revision] = points[readIndex];
  if (pointerAt >= 0) return read(nearest(pointerAt), pointerAt);
  const same = readablePoints().findIndex((point) => point[1] === revision);
  if (same < 0) read(nearest(x), x);
  else read(same, readablePoints()[same][0]);
});
