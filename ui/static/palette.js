// The search field: filters the list as you type, and runs commands.

import { about } from "./about.js";
import { reason, send } from "./commands.js";
import { create, remove, rename } from "./forms.js";
import { compare, compareSince } from "./diff.js";
import { chooseFirst, find, toTop } from "./list.js";
import { isPast, live, play, step } from "./past.js";
import { $, CTRL, setSignals, byId, announce } from "./signals.js";
import { restoreMoment } from "./restore.js";
import { exportAs, importFile } from "./transfer.js";
import { scope } from "./tree.js";
import { redo, undo } from "./undo.js";
import { guessed, named } from "./values.js";

const TYPING_MS = 90;
const MAX_LISTED = 9;

const input = byId("query");
const list = byId("palette");
let options = [];
let current = 0;
let typing = 0;
let searchBefore = ""; // what was searched for when the field got the focus
let typed = "";
let runsFirst = false; // whether Enter means a command rather than a search

// Commands

export const theme = (value) => run({ type: "set", key: "_signalbox.theme" }, JSON.stringify(value));
export const show = (view) => setSignals({ view });
// What an earlier pause has counted is reset at once, not only once the server has answered.
export const pause = () => live() || setSignals({ hold: !$.hold, _held: -1, _pinned: -1, _waiting: 0 });
export const sort = (by) => {
  setSignals({ sort: by, from: 0, view: "keys" });
  toTop();
};

/**
 * Switch the source *this computer*; `revision` is that of its setting as shown, 0 where unset, and
 * `node` the computer, where several share the store.
 */
export function watch(enabled, every = 1, revision, node = $._node) {
  const expect = revision === undefined ? "any" : revision ? { revision } : "absent";
  const value = node ? { enabled, every, node } : { enabled, every };
  return send({ type: "set", key: "_signalbox.sources.computer", value, expect });
}

async function run(command, raw) {
  const outcome = await send(command, raw);
  if (outcome.status === "accepted") return announce("Done");
  input.focus();
  input.value = typed;
  list.hidden = false;
  const line = element("p", "said palette-said", reason(outcome));
  list.replaceChildren(line);
}

const isNow = () => !isPast();
const type = (name) => setSignals({ type: name, from: 0, view: "keys" });

const COMMANDS = [
  ["Create a key…", () => create(), isNow, "N"],
  ["Rename what is chosen…", () => rename(), () => isNow() && ($.key || $.prefix), "F2"],
  ["Delete what is chosen…", () => remove(), () => isNow() && ($.key || $.prefix || $._marked > 1), "Delete"],
  ["Undo", () => undo(), isNow, `${CTRL}Z`],
  ["Redo", () => redo(), isNow, `Shift ${CTRL}Z`],
  ["Pause: hold the picture", pause, () => isNow() && !$.hold, "P"],
  ["Resume: go on live", pause, () => $.hold, "P"],
  ["Go back one change", () => step(false), null, ","],
  ["Go on one change", () => step(true), isPast, "."],
  ["Go back one change of this key", () => step(false, true), () => $.key, "["],
  ["Go on one change of this key", () => step(true, true), () => $.key && isPast(), "]"],
  ["Play from here", () => play(), isPast, "Space"],
  ["Return to live", live, isPast, "Escape"],
  ["Restore this moment…", () => restoreMoment(), isPast],
  ["Compare this moment with now", () => compare($._pastRevision), isPast],
  ["Compare an hour ago with now", () => compareSince(3_600_000)],
  ["Compare a day ago with now", () => compareSince(86_400_000)],
  ["Show keys", () => show("keys"), () => $.view !== "keys"],
  ["Show activity", () => show("activity")],
  ["Show rejected attempts", () => setSignals({ view: "activity", only: "rejected" })],
  ["Show sources", () => show("sources")],
  ["Sort by key", () => sort("key")],
  ["Sort by last change", () => sort("changed")],
  ["Watch this computer", () => watch(true), isNow],
  ["Stop watching this computer", () => watch(false), isNow],
  ["Theme: as the system", () => theme("system")],
  ["Theme: light", () => theme("light")],
  ["Theme: dark", () => theme("dark")],
  ["Only booleans", () => type("boolean")],
  ["Only numbers", () => type("number")],
  ["Only texts", () => type("string")],
  ["Any type", () => type("")],
  ["Import…", () => importFile(), isNow, `${CTRL}O`],
  ["Export as NDJSON…", () => exportAs("ndjson")],
  ["Export as JSON…", () => exportAs("json")],
  ["Export as CSV…", () => exportAs("csv")],
  ["Keyboard shortcuts", () => byId("sheet").showModal(), null, "?"],
  ["About Signalbox", () => about()],
];

/** Run the command of that name; whether it can be done now. */
export function runNamed(name) {
  const command = COMMANDS.find(([label]) => label === name);
  const can = Boolean(command && isPossible(command));
  if (can) command[1]();
  return can;
}

// Commands that can be typed as a sentence, with what they would do. A key with spaces is in quotes.
const KEY = String.raw`("[^"]+"|\S+)`;
const keyOf = (word) => named(word.replace(/^"([^"]+)"$/, "$1"));
const sentence = (form) => new RegExp(`^${form.replaceAll("KEY", KEY)}$`, "is");
const SENTENCES = [
  [sentence(String.raw`set\s+KEY\s*(?:=|\s)\s*(.+)`), setTo],
  [sentence(String.raw`(?:create|new)\s+KEY(?:\s*(?:=|\s)\s*(.+))?`), (key, value) => [`Create ${keyOf(key)}…`, "", () => create(keyOf(key), value)]],
  [sentence(String.raw`(?:delete|rm|remove)\s+KEY`), (key) => [ellipsis(`Delete ${keyOf(key)}`), "", () => remove({ key: keyOf(key) })]],
  [sentence(String.raw`(?:rename|mv|move)\s+KEY\s+(?:to\s+)?KEY`), (key, to) => [ellipsis(`Rename ${keyOf(key)} to ${keyOf(to)}`), "", () => rename(keyOf(key), keyOf(to))]],
  [sentence(String.raw`toggle\s+KEY`), (key) => [`Toggle ${keyOf(key)}`, "", () => run({ type: "toggle", key: keyOf(key) })]],
  [sentence(String.raw`add\s+(-?[\d.]+)\s+to\s+KEY`), (by, key) => [`Add ${by} to ${keyOf(key)}`, "", () => run({ type: "add", key: keyOf(key), by: Number(by) })]],
  [sentence(String.raw`(?:go to|open)\s+KEY`), (key) => [`Open ${keyOf(key)}`, "", () => open(keyOf(key))]],
];

// A form follows, which three dots announce; after a prefix's dot they would read as part of it.
const ellipsis = (label) => (label.endsWith(".") ? label : `${label}…`);

function setTo(word, value) {
  const key = keyOf(word);
  const { raw, kind } = guessed(value);
  return [`Set ${key} to ${value}`, kind, () => run({ type: "set", key }, raw)];
}

function open(key) {
  if (key.endsWith(".")) return scope(key);
  setSignals({ view: "keys" });
  find(key);
}

// What the field offers

function optionsFor(text) {
  const search = { label: `Search for “${text}”`, note: "in keys and values", run: () => runSearch(text) };
  if (!text) return COMMANDS.filter(isPossible).map(asOption);
  for (const [form, meaning] of SENTENCES) {
    const parts = form.exec(text);
    if (!parts) continue;
    const [label, note, act] = meaning(...parts.slice(1));
    return [{ label, note, run: act }, search];
  }
  const commands = matching(text);
  if (text[0] === ">") return commands;
  const isNamed = commands.some(({ label }) => wordsOf(label).join() === wordsOf(text).join());
  return isNamed || runsFirst ? [...commands, search] : [search, ...commands];
}

// Every word that is typed begins one of a command; those that begin so themselves come first.
function matching(text) {
  const words = wordsOf(text);
  if (!words.length && text[0] !== ">") return [];
  const fits = ([label]) => words.every((word) => wordsOf(label).some((each) => each.startsWith(word)));
  const begins = ({ label }) => wordsOf(label).join(" ").startsWith(words.join(" "));
  const commands = COMMANDS.filter(isPossible).filter(fits).map(asOption);
  return [...commands.filter(begins), ...commands.filter((each) => !begins(each))];
}

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

const isCommand = (text) => text[0] === ">" || SENTENCES.some(([form]) => form.test(text));
const isPossible = ([, , possible]) => !possible || possible();
const asOption = ([label, act, , shortcut = ""]) => ({ label, note: shortcut, run: act });

function render() {
  options = optionsFor(input.value.trim()).slice(0, input.value ? MAX_LISTED : 99);
  current = Math.min(current, options.length - 1);
  list.replaceChildren(...options.map(({ label, note }, i) => {
    const option = element("div", "option");
    option.id = `option-${i}`;
    option.dataset.option = i;
    option.setAttribute("role", "option");
    option.append(element("span", "", label), element("small", "", note));
    return option;
  }));
  // The list below is the answer to a search: nothing covers it unless there is a choice.
  list.hidden = options.length === 1 && options[0].label.startsWith("Search for");
  input.setAttribute("aria-expanded", String(!list.hidden));
  mark();
}

function mark() {
  [...list.children].forEach((option, i) => option.setAttribute("aria-selected", i === current));
  list.children[current]?.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", list.hidden ? "" : `option-${current}`);
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Open it to run a command: Enter runs the first that matches. */
export function openPalette() {
  openField(true);
}

/** Open it to search: commands that match stand below. */
export function openSearch() {
  openField(false);
}

function openField(forCommands) {
  runsFirst = forCommands;
  input.focus();
  input.select();
  current = 0;
  render();
}

function closeList() {
  list.hidden = true;
  input.setAttribute("aria-expanded", "false");
}

// Searching

function filter(text) {
  clearTimeout(typing);
  const wanted = isCommand(text) ? searchBefore : text;
  if (wanted === $.text) return;
  // A glob names keys from their beginning, so it looks beyond the chosen prefix.
  setSignals({ text: wanted, from: 0, view: "keys", ...(wanted.includes("*") ? { prefix: "" } : {}) });
  toTop(wanted === "");
}

function runSearch(text) {
  clearTimeout(typing);
  setSignals({ text, from: 0, view: "keys", ...(text.includes("*") ? { prefix: "" } : {}) });
  toTop(text === "");
  closeList();
  byId("grid").focus();
  if (text) chooseFirst(text);
}

/** Show all keys again; whether anything was filtered. */
export function clear() {
  const was = $.text !== "" || $.type !== "" || input.value !== "";
  clearTimeout(typing);
  input.value = "";
  byId("type").value = "";
  setSignals({ text: "", type: "", from: 0 });
  if (was) toTop(true);
  closeList();
  return was;
}

function choice(i) {
  const option = options[i];
  if (!option) return;
  typed = input.value;
  closeList();
  if (!option.label.startsWith("Search for")) {
    filter(searchBefore); // the words of a command are not searched for
    input.value = searchBefore;
    byId("grid").focus();
  }
  option.run();
}

input.addEventListener("focus", () => (searchBefore = $.text));
input.addEventListener("input", () => {
  current = 0;
  render();
  clearTimeout(typing);
  typing = setTimeout(filter, TYPING_MS, input.value.trim());
});
input.addEventListener("click", () => list.hidden && openSearch());
input.addEventListener("blur", closeList);
list.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  const option = event.target.closest(".option");
  if (option) choice(Number(option.dataset.option));
});
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (list.hidden && event.key === "ArrowDown") return runSearch(input.value.trim());
    current = (current + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
    mark();
  } else if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    if (list.hidden) runSearch(input.value.trim());
    else choice(current);
  }
});
byId("type").addEventListener("change", (event) => {
  type(event.target.value);
  toTop();
});
