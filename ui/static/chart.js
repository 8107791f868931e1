// The inspector's chart: what it shows at a place, by pointer and by the arrow keys; and the way to
// that moment.

import { goTo } from "./past.js";
import { byId, onPatch } from "./signals.js";

const reading = byId("reading");
const cross = byId("cross");
const plot = () => byId("plot");
const field = () => plot().querySelector(".field");
let place = -1; // the point that is read; -1 none
let at = -1; // the pointer's place in thousandths; -1 where the keyboard reads
let source = "";
let points = [];

/** What can be read: [thousandth of the width, revision, time, value]. */
function known() {
  const text = plot()?.dataset.points ?? "[]";
  if (text !== source) [source, points] = [text, JSON.parse(text)];
  return points;
}

// The last change before a place is what was so there.
const nearest = (x) => known().findLastIndex((point) => point[0] <= x);

function read(i, x) {
  const point = known()[i];
  place = point ? i : -1;
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
  at = -1;
  read(-1);
}

const charts = byId("charts");
charts.addEventListener("pointermove", (event) => {
  if (!event.target.closest("#plot")) return at >= 0 && leave();
  const box = field().getBoundingClientRect();
  at = Math.max(0, Math.min(1000, ((event.clientX - box.left) / box.width) * 1000));
  read(nearest(at), at);
});
charts.addEventListener("click", ({ target }) => target.closest("#plot") && enter());
charts.addEventListener("pointerleave", () => at >= 0 && leave());
charts.addEventListener("focusout", leave);
charts.addEventListener("focusin", ({ target }) => target === plot() && at < 0 && walk(known().length - 1));

function walk(i) {
  const to = Math.max(0, Math.min(i, known().length - 1));
  at = -1;
  read(to, known()[to]?.[0]);
}

/** Show everything as it was at the point that is read. */
function enter() {
  const revision = known()[place]?.[1];
  if (revision) goTo(revision);
}

const MOVES = {
  ArrowRight: () => place + 1,
  ArrowUp: () => place + 1,
  ArrowLeft: () => place - 1,
  ArrowDown: () => place - 1,
  PageUp: () => place + 10,
  PageDown: () => place - 10,
  Home: () => 0,
  End: () => known().length - 1,
};

charts.addEventListener("keydown", (event) => {
  const isEnter = event.key === "Enter";
  if (event.target !== plot() || !(MOVES[event.key] || isEnter) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (isEnter) enter();
  else walk(MOVES[event.key]());
});

// A new picture below the pointer, or below the place that the keyboard is on.
onPatch(() => {
  if (place < 0 || source === plot()?.dataset.points) return;
  const [x, revision] = points[place];
  if (at >= 0) return read(nearest(at), at);
  const same = known().findIndex((point) => point[1] === revision);
  if (same < 0) read(nearest(x), x);
  else read(same, known()[same][0]);
});
