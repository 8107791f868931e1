// The list of keys: only visible rows exist. Scrolling, the cursor, and the selection of several rows.

import { BATCH, brief, send } from "./commands.js";
import { hasDraft } from "./editor.js";
import { isPast } from "./past.js";
import { $, setSignals, byId, onChange, onPatch, announce } from "./signals.js";

const ROW = 30; // px, as in window.css
const MAX_HEIGHT = 30_000_000; // px; Chromium clamps an element at 33.5 million
const MAX_LISTED = 500; // rows that the server renders at once
const SPARE = 30; // rows rendered above and below those in sight
const NEAR = 12; // rows from the rendered edge at which more are asked for
const ASK_MS = 40;
const MESSAGE_MS = 20_000; // how long a row shows why the command of its switch was rejected

const grid = byId("grid");
const sizer = byId("sizer");
const block = byId("block");
const marks = new Set();
const messages = new Map(); // key -> why the command of its switch was rejected
let total = 0;
let virtual = 0; // px from the top of the whole list, whatever its element's height
let cursor = 0; // the inspected row's position
let placedKey = ""; // the key of which that is known
let heldTop = null; // px from the top of the view at which the row that is looked for is to be
let anchor = { key: "", i: 0, r: 0 }; // where a selection of several began
let pendingMove = null; // a position to go to once it is rendered
let requestTimer = 0;

const rows = () => byId("rows");
const first = () => Number(rows().dataset.from);
const rowAt = (i) => rows().children[i - first()];
const rowOf = (key) => byId(`k:${key}`);
export const marked = () => [...marks];
/** The revision of a key as its row shows it; undefined where no row does. */
export const shownRevision = (key) => (rowOf(key) ? Number(rowOf(key).dataset.r) : undefined);

// Scrolling

function stretch() {
  const all = total * ROW;
  const seen = grid.clientHeight;
  return all <= MAX_HEIGHT ? 1 : (all - seen) / (MAX_HEIGHT - seen);
}

function place() {
  const from = first() * ROW;
  block.style.top = `${stretch() === 1 ? from : grid.scrollTop + from - virtual}px`;
  showStart();
}

/** Where no key is inspected, the arrow keys begin at the first row that is wholly in sight. */
function showStart() {
  for (const row of rows().querySelectorAll(":scope > .start")) row.classList.remove("start");
  if (!$.key) rowAt(Math.ceil(virtual / ROW))?.classList.add("start");
}

function scrolled() {
  const factor = stretch();
  // Of a tall list the element's own position is too coarse: keep what was set last.
  if (factor === 1 || Math.abs(grid.scrollTop - virtual / factor) > 1) virtual = grid.scrollTop * factor;
  place();
  requestRows();
}

function scrollTo(top) {
  virtual = Math.max(0, Math.min(top, total * ROW - grid.clientHeight));
  grid.scrollTop = virtual / stretch();
  place();
  requestRows();
}

function requestRows() {
  const start = Math.floor(virtual / ROW);
  const seen = Math.ceil(grid.clientHeight / ROW) + 1;
  const rendered = { start: first(), end: first() + rows().children.length };
  const isNear = start - NEAR < rendered.start && rendered.start > 0;
  const isNearEnd = start + seen + NEAR > rendered.end && rendered.end < total;
  const request = { from: Math.max(0, start - SPARE), rows: Math.min(seen + 2 * SPARE, MAX_LISTED) };
  const isAsked = request.from === $.from && request.rows === $.rows;
  if (requestTimer || isAsked || (!isNear && !isNearEnd && $.rows >= seen)) return;
  requestTimer = setTimeout(() => {
    requestTimer = 0;
    requestRows(); // as far as the list was scrolled meanwhile
  }, ASK_MS);
  setSignals({ ...request, find: "" });
}

/** Inspect a key and show its row, wherever in the list it is. */
export function find(key) {
  choose(key);
  const row = rowOf(key);
  heldTop = null;
  if (row) reveal(Number(row.dataset.i));
  else setSignals({ find: key });
}

function showFound() {
  const row = rowOf($.find);
  if (!row) return;
  const i = Number(row.dataset.i);
  const start = first();
  scrollTo(heldTop === null ? (i + 0.5) * ROW - grid.clientHeight / 2 : i * ROW - heldTop);
  heldTop = null;
  cursor = i;
  setSignals({ find: "", from: start });
}

/** Show the list from its beginning; with `holds` the inspected row where it is on screen. */
export function toTop(holds = false) {
  const top = holds ? inSight() : null;
  placedKey = "";
  scrollTo(0);
  cursor = 0;
  if (top !== null) hold(top);
}

/** How far below the top of the view the inspected row is, in px; null where it is out of sight. */
function inSight() {
  const top = cursor * ROW - virtual;
  return $.key && placedKey === $.key && top > -ROW && top < grid.clientHeight ? top : null;
}

/** Request the rows around the inspected key, with its row at `top` again. */
function hold(top) {
  if ($.sort !== "key") return; // the server looks for none in another order
  heldTop = top;
  placedKey = "";
  setSignals({ find: $.key });
}

/** Keep the inspected row at `top` where rows before it were added or removed. */
function keep(top) {
  const row = rowOf($.key);
  if (row && Number(row.dataset.i) !== cursor) scrollTo(Number(row.dataset.i) * ROW - top);
  const shown = rows().children;
  const isBeyond = shown.length > 0 && ($.key < shown[0].dataset.key || $.key > shown[shown.length - 1].dataset.key);
  if (!row && isBeyond) hold(top);
}

function reveal(i) {
  const top = i * ROW;
  if (top < virtual) scrollTo(top);
  else if (top + ROW > virtual + grid.clientHeight) scrollTo(top + ROW - grid.clientHeight);
}

// New rows: from the stream, and at first with the page

onPatch(onRows);
function onRows() {
  const count = rows().children.length;
  const top = pendingMove ? null : inSight();
  total = Number(rows().dataset.total);
  if (total < 0) total = first() + count + (count < $.rows ? 0 : SPARE); // still counting
  sizer.style.height = `${Math.min(total * ROW, MAX_HEIGHT)}px`;
  if (virtual > Math.max(0, total * ROW - grid.clientHeight)) scrolled();
  place();
  if ($.find) showFound();
  else if (top !== null) keep(top);
  if (pendingMove && rowAt(pendingMove.i)) go(pendingMove.i, pendingMove.extend);
  showSelection();
  requestRows();
}

function showSelection() {
  for (const row of rows().querySelectorAll(":scope > .row")) {
    const { key } = row.dataset;
    set(row, "aria-selected", marks.has(key));
    if (marks.has(key)) for (const flashing of row.getAnimations()) flashing.cancel();
    row.classList.toggle("cursor", key === $.key);
    row.classList.toggle("drafted", hasDraft(key));
    if (key === $.key) [cursor, placedKey] = [Number(row.dataset.i), key];
    const line = row.querySelector(".said");
    if (line.textContent !== (messages.get(key) ?? "")) line.textContent = line.title = messages.get(key) ?? "";
  }
  showStart();
  set(grid, "aria-rowcount", total + 1);
  if ($.key && rowOf($.key)) set(grid, "aria-activedescendant", `k:${$.key}`);
  else grid.removeAttribute("aria-activedescendant");
}

function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// A changed row flashes once, softly; one that changes all the time does not flicker. Of a selected
// one only the value does: the row keeps its tint.
function flash(row) {
  const part = marks.has(row.dataset.key) ? row.querySelector(".v") : row;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches || part.getAnimations().length) return;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--flash");
  const lit = { backgroundColor: colour };
  part.animate([lit, { ...lit, offset: 0.25 }, {}], { duration: 1100, easing: "ease-out" });
}

// The rows that the page came with do not flash.
new MutationObserver((records) => {
  for (const { target, type, addedNodes } of records) {
    if (type === "attributes") flash(target);
    else for (const node of addedNodes) if (node.dataset?.fresh !== undefined) flash(node);
  }
}).observe(block, { subtree: true, childList: true, attributeFilter: ["data-r"] });

// Cursor and selection

/** Inspect one key and select nothing else; an empty key inspects nothing. */
export function choose(key, i = cursor) {
  marks.clear();
  if (key) marks.add(key);
  cursor = i;
  anchor = { key, i, r: Number(rowOf(key)?.dataset.r ?? 0) };
  inspect(key);
}

function inspect(key) {
  setSignals({ key, _marked: marks.size, _form: "", _note: "" });
  showSelection();
}

/** The key to go on with once `keys` are deleted: the next in sight, or else the one before. */
export function neighbour(keys) {
  const gone = new Set(keys);
  const shown = [...rows().querySelectorAll(":scope > .row")].map((row) => row.dataset.key);
  const last = shown.findLastIndex((key) => gone.has(key));
  if (last < 0) return "";
  return shown[last + 1] ?? shown.findLast((key) => !gone.has(key)) ?? "";
}

// The rows of a search arrive a little later than its text is sent.
let awaitedText = null;
onChange(() => `${$._match} ${$._search}`, () => awaitedText !== null && queueMicrotask(chooseFirst));

/** Choose the first row of what is found for `text`, as soon as that is here. */
export function chooseFirst(text = awaitedText) {
  const isHere = [$._match, $._search].includes(text);
  awaitedText = isHere ? null : text;
  if (isHere && rows().dataset.from === "0" && rowAt(0)?.dataset.key) choose(rowAt(0).dataset.key, 0);
}

function tooMany(count) {
  const text = `${count.toLocaleString("en")} keys are more than the ${BATCH.toLocaleString("en")} that one batch can hold, so they are not selected. A prefix is deleted or renamed whole, whatever its size.`;
  announce(text);
  setSignals({ _note: text });
}

async function extend(row) {
  const { key, i, r } = row.dataset;
  const end = { key, i: Number(i), r: Number(r) };
  const [low, high] = end.i < anchor.i ? [end, anchor] : [anchor, end];
  const wide = high.i - low.i + 1;
  if (wide > BATCH) return tooMany(wide);
  const keys = await between(low, high);
  marks.clear();
  for (const each of keys) marks.add(each);
  cursor = end.i;
  inspect(key);
}

async function between(low, high) {
  const rendered = [];
  for (let i = low.i; i <= high.i && rowAt(i); i++) rendered.push(rowAt(i).dataset.key);
  if (rendered.length === high.i - low.i + 1 && rendered[0] === low.key) return rendered;
  const after = $.sort === "key" ? low.key : `${low.r}:${low.key}`;
  return [low.key, ...(await keysFrom({ after, limit: high.i - low.i }))];
}

async function keysFrom(more) {
  const filter = { match: $._match, type: $.type, search: $._search, sort: $.sort, ...more };
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== ""));
  const answer = await fetch(`/queries/state?${query}`);
  return answer.ok ? (await answer.json()).items.map((item) => item.key) : [];
}

async function markAll() {
  if (total > BATCH) return tooMany(total);
  for (const key of await keysFrom({ limit: BATCH })) marks.add(key);
  inspect($.key);
}

function toggleMark(row) {
  const { key, i, r } = row.dataset;
  if (!marks.delete(key)) marks.add(key);
  anchor = { key, i: Number(i), r: Number(r) };
  cursor = anchor.i;
  inspect(marks.has(key) ? key : (marked().at(-1) ?? ""));
}

function go(i, isExtending) {
  const target = Math.max(0, Math.min(i, total - 1));
  pendingMove = null;
  reveal(target);
  const row = rowAt(target);
  cursor = target; // at once, for the next key that is pressed
  if (!row) pendingMove = { i: target, extend: isExtending };
  else if (isExtending) extend(row);
  else choose(row.dataset.key, target);
}

export function clearMarks() {
  if (marks.size < 2) return false;
  choose($.key);
  return true;
}

/** Deselect keys that were deleted or renamed. */
export function forget(keys) {
  for (const key of keys) marks.delete(key);
  setSignals({ _marked: marks.size });
}

// Switches

/** Flip the boolean of the row that `element` stands in, unless somebody else has since. */
export async function flip(element) {
  const row = element.closest(".row");
  const { key, r } = row.dataset;
  const control = row.querySelector(".switch");
  if (!control || control.ariaBusy === "true" || isPast()) return;
  const value = control.getAttribute("aria-checked") !== "true";
  control.setAttribute("aria-busy", "true");
  grid.focus({ preventScroll: true }); // the arrow keys go on working
  messages.delete(key);
  showSelection();
  const outcome = await send({ type: "set", key, value, expect: { revision: Number(r) } });
  rowOf(key)?.querySelector(".switch")?.removeAttribute("aria-busy");
  if (outcome.status === "accepted") announce(`${key} is ${value ? "on" : "off"}`);
  else showMessage(key, brief(outcome));
  showSelection();
}

function showMessage(key, text) {
  messages.set(key, text);
  setTimeout(() => {
    if (messages.get(key) === text) messages.delete(key);
    showSelection();
  }, MESSAGE_MS);
}

// Pointer and keyboard

grid.addEventListener("scroll", scrolled, { passive: true });
grid.addEventListener("wheel", (event) => {
  if (stretch() === 1 || event.ctrlKey) return;
  event.preventDefault();
  scrollTo(virtual + (event.deltaMode === 1 ? event.deltaY * ROW : event.deltaY));
});
grid.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row || event.target.closest("button")) return;
  if (event.shiftKey) extend(row);
  else if (event.ctrlKey || event.metaKey) toggleMark(row);
  else choose(row.dataset.key, Number(row.dataset.i));
});
new ResizeObserver(() => scrolled()).observe(grid);
onRows();
// The columns of the head are aligned with those of the list, which a scrollbar makes narrower.
new ResizeObserver(() => {
  const head = document.querySelector(".row.head");
  head.style.paddingRight = `${14 + grid.offsetWidth - grid.clientWidth}px`;
}).observe(block);

const down = () => ($.key ? cursor + 1 : Math.ceil(virtual / ROW));
const up = () => ($.key ? cursor - 1 : Math.ceil(virtual / ROW));
const MOVES = {
  ArrowDown: down,
  ArrowUp: up,
  j: down,
  k: up,
  PageDown: () => cursor + Math.floor(grid.clientHeight / ROW) - 1,
  PageUp: () => cursor - Math.floor(grid.clientHeight / ROW) + 1,
  Home: () => 0,
  End: () => total - 1,
};

document.addEventListener("keydown", (event) => {
  if ((event.target !== grid && event.target !== document.body) || event.altKey) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && event.key === "a") markAll();
  else if (MOVES[event.key] && !isCommand && total) go(MOVES[event.key](), event.shiftKey && $.key);
  else if (event.key === " " && rowOf($.key)) event.repeat || flip(rowOf($.key));
  else return;
  event.preventDefault();
  grid.focus({ preventScroll: true });
});
