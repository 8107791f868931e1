// The first module of the page: which click and which key does what.

import { by } from "./activity.js";
import "./chart.js";
import { copy, copyValue } from "./clipboard.js";
import { isField, replay } from "./early.js";
import { edit, hasDraft, merge, mine, power, restore, step as stepValue, theirs, turn } from "./editor.js";
import { close, create, remove, rename } from "./forms.js";
import { choose, clearMarks, find, flip } from "./list.js";
import { compare, compareVersion, firstDifferences, moreDifferences } from "./diff.js";
import { newest, older, restoreVersion } from "./history.js";
import "./identity.js";
import "./menu.js";
import { clear, openPalette, openSearch, pause, show, sort } from "./palette.js";
import { $, CTRL, setSignals, byId, onChange, openDialog, announce } from "./signals.js";
import { goTo, isPast, live, playOrStop, step } from "./past.js";
import { restoreMoment } from "./restore.js";
import { chooseAll } from "./resolve.js";
import { flipSource, paceSource } from "./sources.js";
import "./title.js";
import { importFile } from "./transfer.js";
import { enter, more, scope, unfold } from "./tree.js";
import { handleUndoKey, redo, undo } from "./undo.js";

// An element names what a click on it does; keys stay in data, never in an expression.
const CLICKS = {
  "all-mine": () => chooseAll("mine"),
  "all-theirs": () => chooseAll("theirs"),
  by: (element) => by(element.dataset.by),
  clear,
  close,
  "compare-version": (element) => compareVersion(Number(element.dataset.revision)),
  copy: (element) => copy(byId(element.dataset.from).textContent, element),
  "copy-key": (element) => copy($.key, element),
  "copy-value": copyValue,
  "compare-now": () => compare($._pastRevision),
  create: () => create(),
  delete: () => remove(),
  every: () => {},
  expand: (element) => (element.ariaExpanded = element.ariaExpanded !== "true"),
  "first-differences": firstDifferences,
  flip,
  go: (element) => {
    setSignals({ view: "keys" });
    find(element.dataset.key);
  },
  inspect: (element) => choose(element.dataset.key),
  "key-back": () => step(false, true),
  "key-on": () => step(true, true),
  live,
  merge,
  mine,
  moment: (element) => goTo(Number(element.dataset.revision)),
  "more-differences": (element) => moreDifferences(element.dataset.behind),
  more: (element) => more(element.dataset.prefix),
  newest,
  "older-versions": (element) => older(Number(element.dataset.before)),
  older: () => setSignals({ attempts: $.attempts + 100 }),
  pause,
  play: playOrStop,
  rejections: () => setSignals({ view: "activity", only: "rejected", by: "" }),
  rename: () => rename(),
  "restore-moment": () => restoreMoment(),
  "restore-version": (element) => restoreVersion(Number(element.dataset.revision)),
  scope: (element) => scope(element.dataset.prefix),
  sort: (element) => sort(element.dataset.sort),
  step: (element, event) => stepValue(Number(element.dataset.by), power(event)),
  "step-back": () => step(false),
  "step-on": () => step(true),
  theirs,
  turn,
  "undo-attempt": ({ dataset }) => (dataset.type === "undo" ? redo : undo)(dataset.id),
  unfold: (element) => {
    const node = element.closest(".node");
    unfold(node.dataset.prefix, node.ariaExpanded !== "true");
  },
  unscope: () => scope(""),
  view: (element) => show($.view === element.dataset.view ? "keys" : element.dataset.view),
  watch: flipSource,
  wipe: () => {
    clear();
    byId("query").focus();
  },
  whole: () => byId("inspector").classList.add("whole"),
};

// What changes something is off while the past is shown.
const CHANGES = new Set(["create", "delete", "flip", "merge", "mine", "rename", "restore-version", "step", "theirs", "turn", "undo-attempt", "watch"]);
const refuseInPast = () => announce("This is the past. Escape returns to live.");

document.addEventListener("click", (event) => {
  const element = event.target.closest("[data-do]");
  if (element && isPast() && CHANGES.has(element.dataset.do)) return refuseInPast();
  if (element && CLICKS[element.dataset.do]) return CLICKS[element.dataset.do](element, event);
  const node = event.target.closest("#tree .node");
  if (node) enter(node);
});
document.addEventListener("change", ({ target }) => {
  if (target.dataset.do === "every" && !isPast()) paceSource(Number(target.value));
});
document.addEventListener("dblclick", (event) => {
  if (event.target.closest("#grid .row") && !event.target.closest("button")) KEYS.Enter(event);
});
document.addEventListener("submit", (event) => {
  if (event.target.method !== "dialog") event.preventDefault();
}, true);

// Keys

function escape(event) {
  const { target } = event;
  if (openDialog()) return openDialog().close();
  if (target === byId("query")) {
    clear();
    return byId("grid").focus();
  }
  if (close()) return;
  if (live()) return $.view === "diff" && show("keys"); // it compared that moment with now
  if (target === byId("draft") || byId("editor").contains(target)) {
    restore();
    return byId("grid").focus();
  }
  if (clearMarks() || (hasDraft($.key) && restore()) || clear()) return;
  if ($.view !== "keys") return show("keys");
  choose("");
}

// Acts on the current state alone; while the past is shown, `past` runs instead.
const onlyLive = (act, past = refuseInPast) => (event) => (isPast() ? past(event) : act(event));

const KEYS = {
  "/": openSearch,
  "?": () => byId("sheet").showModal(),
  n: onlyLive(() => create()),
  p: pause,
  t: () => byId("tree").focus(),
  l: () => byId("grid").focus(),
  ",": () => step(false),
  ".": () => step(true),
  "[": () => step(false, true),
  "]": () => step(true, true),
  " ": (event) => (isPast() && !event.target.closest("button, [role=switch]") ? void playOrStop() : false),
  F2: onlyLive(() => rename()),
  Delete: onlyLive(() => remove()),
  Backspace: (event) => (event.metaKey ? onlyLive(() => remove())(event) : undefined),
  Enter: (event) => (event.target.closest("#grid") || event.target === document.body ? onlyLive(edit)(event) : false),
};

// A key that is held down acts once; only moving repeats.
const ONCE = new Set([" ", "Enter", "Delete", "Backspace", "F2", "n", "p"]);

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.repeat && ONCE.has(event.key) && !isField(event.target)) return event.preventDefault();
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && event.key.toLowerCase() === "k") openPalette();
  else if (isCommand && event.key.toLowerCase() === "o") onlyLive(importFile)(event);
  else if (isCommand && event.key === "c" && !isField(event.target) && getSelection().isCollapsed) copyValue();
  else if (event.key === "Escape") escape(event);
  else if (handleUndoKey(event)) return event.preventDefault();
  else if (isField(event.target) || openDialog()) return;
  else if ((isCommand && event.key !== "Backspace") || event.altKey || !KEYS[event.key]) return;
  else if (KEYS[event.key](event) === false) return;
  event.preventDefault();
});

// The window never leaves its page, whatever is dropped on it.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

document.querySelector(".keys").textContent = "Ctrl K";
for (const cap of document.querySelectorAll("kbd")) cap.textContent = cap.textContent.replace("Ctrl ", CTRL);
document.addEventListener("datastar-ready", () => {
  document.documentElement.classList.remove("starting");
  if (document.activeElement === document.body) byId("grid").focus();
  // Nothing is shown or sent before the window knows who it is.
  onChange(() => $.actor, (actor) => actor && queueMicrotask(replay));
});
