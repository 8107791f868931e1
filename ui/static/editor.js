// The editor of the inspector. What the user types is a draft, which no change by others replaces.

import { reason, send } from "./commands.js";
import { isPast } from "./past.js";
import { $, CTRL, byId, onChange, onPatch, announce } from "./signals.js";
import { converted, escaped, kindOf, merged, rawOf, stepped, textOf } from "./values.js";

const MAX_LINES = 22; // lines
const DRAFTS_KEY = `drafts of ${document.body.dataset.store}`;

const form = byId("editor");
const field = byId("draft");
const kinds = byId("kind");
// key -> { kind, text, raw, revision, sent?, isKept? }: what is typed, on top of which value and
// revision; it is kept whatever others set, where somebody has chosen so.
const drafts = new Map(JSON.parse(sessionStorage.getItem(DRAFTS_KEY) ?? "[]"));
let shown = { key: null, kind: "", text: "" }; // what the field holds
let lastSeen = {}; // the key and revision that were looked at last
let rejection = ""; // why the last command was rejected
let isWanted = false; // somebody pressed Enter before the key was shown

/** The inspected key as the stream has sent it last; revision 0 where it does not exist. */
export function inspectedItem() {
  const { key, revision, actor, who } = byId("fact").dataset;
  return { key, revision: Number(revision), actor, who, raw: byId("fact").textContent };
}

export function hasDraft(key) {
  return drafts.has(key);
}

/** Go to the field of the inspected key, as soon as it is shown. */
export function edit() {
  isWanted = $.key !== "";
  refresh();
}

function enterField() {
  isWanted = false;
  const target = [field, byId("toggle"), kinds].find((control) => !control.hidden);
  target.focus();
  if (target === field) field.select();
}

// From fact and draft to what is seen

// Most patches are about something else, and a large value takes long to read.
onPatch(() => {
  const { key, revision } = byId("fact").dataset;
  if (key !== lastSeen.key || revision !== lastSeen.revision || isWanted) refresh();
});

onChange(() => $._past === "", refresh);

function refresh() {
  const now = inspectedItem();
  lastSeen = { ...byId("fact").dataset };
  if (now.key !== $.key || !now.key) return;
  if (now.key !== shown.key) rejection = "";
  const draft = isPast() ? undefined : drafts.get(now.key);
  if (draft) fill(now.key, draft.kind, draft.text);
  else load(now);
  showState(now, draft);
  if (isWanted) enterField();
}

function load({ key, raw }) {
  const kind = kindOf(raw);
  fill(key, kind, textOf(raw, kind));
}

function fill(key, kind, text) {
  if (shown.key === key && shown.kind === kind && shown.text === text) return;
  const wasAll = document.activeElement === field && field.selectionEnd - field.selectionStart === field.value.length;
  if (field.value !== text) field.value = text;
  if (wasAll && shown.key === key) field.select();
  kinds.value = kind;
  shown = { key, kind, text };
}

function showState(now, draft) {
  const { kind, text } = shown;
  const isTyped = kind === "text" || kind === "number" || kind === "JSON";
  const isAbsent = now.revision === 0 && !draft;
  const isSimple = kind === "boolean" || kind === "null"; // nothing to set unless something is drafted
  field.hidden = !isTyped || isAbsent;
  byId("toggle").hidden = kind !== "boolean" || isAbsent;
  byId("toggle").ariaChecked = String(text === "true");
  byId("word").hidden = byId("toggle").hidden;
  byId("word").textContent = text === "true" ? "on" : "off";
  byId("none").hidden = kind !== "null" || isAbsent;
  byId("steps").hidden = kind !== "number" || isAbsent;
  kinds.parentElement.hidden = isAbsent;
  const lines = text.split("\n").length;
  field.rows = Math.min(MAX_LINES, lines); // where the field does not fit its text by itself
  form.querySelector(".field").classList.toggle("lines", lines > 1);
  const { wrong } = isTyped && draft ? rawOf(text, kind) : {};
  byId("wrong").textContent = wrong ?? "";
  form.classList.toggle("wrong-now", Boolean(wrong));
  form.classList.toggle("draft", Boolean(draft));
  byId("set").disabled = !draft || Boolean(wrong) || draft.sent !== undefined;
  byId("set").hidden = isAbsent || (isSimple && !draft);
  byId("set").textContent = draft?.sent === undefined ? "Set" : "Setting…";
  byId("hint").textContent = draft ? hint(draft, lines) : "";
  byId("editor-said").textContent = rejection;
  showConflict(now, draft);
}

function hint(draft, lines) {
  const expects = draft.isKept ? "whatever others set" : expectation(draft);
  return lines > 1 || draft.kind === "JSON" ? `${CTRL}Enter sets, ${expects}` : expects;
}

const expectation = ({ revision }) => (revision ? `expects revision ${revision.toLocaleString("en")}` : "expects a new key");

function showConflict(now, draft) {
  const isConflict = draft && !draft.isKept && draft.sent === undefined && now.revision !== draft.revision;
  const line = isConflict ? changed(now) : "";
  const note = byId("conflict");
  // Only another text is written, or a screen reader would read it out with every frame.
  if (note.querySelector("p").textContent !== line) note.querySelector("p").textContent = line;
  note.hidden = !isConflict;
  byId("merge").hidden = !isConflict || draft.kind !== "JSON" || now.revision === 0;
}

function changed({ revision, who, raw }) {
  if (revision === 0) return "It was deleted while you were typing.";
  const value = escaped(raw.length > 120 ? `${raw.slice(0, 119)}…` : raw);
  return `${who} set ${value} while you were typing.`;
}

// Drafts

function updateDraft(text, kind = shown.kind) {
  const now = inspectedItem();
  const draft = drafts.get(now.key) ?? { raw: now.raw, revision: now.revision };
  rejection = "";
  shown = { key: now.key, kind, text };
  const base = kindOf(draft.raw);
  if (kind === base && text === textOf(draft.raw, base) && draft.revision === now.revision) drafts.delete(now.key);
  else drafts.set(now.key, { ...draft, kind, text, sent: undefined });
  storeDrafts();
  showState(now, drafts.get(now.key));
}

function setText(text, kind = shown.kind) {
  field.value = text;
  kinds.value = kind;
  updateDraft(text, kind);
}

/** Discard the draft of the inspected key; whether there was one. */
export function restore() {
  const had = drafts.delete($.key);
  rejection = "";
  storeDrafts();
  refresh();
  return had;
}

function storeDrafts() {
  try {
    sessionStorage.setItem(DRAFTS_KEY, JSON.stringify([...drafts]));
  } catch {
    // Larger than the browser stores: the draft is kept as long as the page is open.
  }
}

/** Set what is typed: where the key is still as it was loaded, or whatever it is, as was chosen. */
export async function set() {
  const { key } = inspectedItem();
  const draft = drafts.get(key);
  if (!draft || draft.sent !== undefined) return;
  const { raw, wrong } = rawOf(draft.text, draft.kind);
  if (wrong) return;
  draft.sent = raw;
  refresh();
  const expect = draft.isKept ? undefined : expected(draft.revision);
  const outcome = await send({ type: "set", key, expect }, raw);
  settled(key, draft, outcome);
}

const expected = (revision) => (revision ? { revision } : "absent");

function settled(key, draft, outcome) {
  const current = drafts.get(key);
  draft.sent = undefined;
  if (outcome.status === "accepted") {
    if (current === draft) drafts.delete(key);
    else if (current) Object.assign(current, { raw: rawOf(draft.text, draft.kind).raw, revision: outcome.revision });
    announce(`${key} is set`);
  } else if (key === $.key) {
    rejection = reason(outcome);
  }
  storeDrafts();
  refresh();
}

/** Flip the inspected boolean: at once where nothing is drafted, else in the draft. */
export async function turn() {
  const now = inspectedItem();
  const flipped = shown.text === "true" ? "false" : "true";
  if (drafts.has(now.key)) return setText(flipped);
  rejection = "";
  byId("toggle").ariaBusy = "true";
  const outcome = await send({ type: "set", key: now.key, expect: expected(now.revision) }, flipped);
  byId("toggle").ariaBusy = "false";
  rejection = reason(outcome);
  refresh();
}

/** Shift makes a step ten times as large, Alt a tenth: the power of ten. */
export function power(event) {
  if (event.shiftKey) return 1;
  return event.altKey ? -1 : 0;
}

export function step(direction, powerOfTen) {
  if (rawOf(field.value, "number").wrong) return;
  setText(stepped(field.value, direction, powerOfTen));
  field.select();
}

// The bar that names the change of somebody else

export function theirs() {
  restore();
  field.focus();
}

/** My draft is to be set, however often others change the key until then. */
export function mine() {
  rebase(shown.text, true);
}

/** Merge both changes; where both have changed the same, mine is kept and its path is named. */
export function merge() {
  const draft = drafts.get($.key);
  const { raw, wrong } = rawOf(draft.text, "JSON");
  if (wrong) return;
  const { text, clashes } = merged(draft.raw, raw, inspectedItem().raw);
  rebase(text);
  rejection = clashes.length ? `Both changed ${clashes.join(", ")}: yours is kept.` : "";
  refresh();
}

function rebase(text, isKept = false) {
  const { key, raw, revision } = inspectedItem();
  Object.assign(drafts.get(key), { raw, revision, isKept });
  setText(text);
  field.focus();
}

// Typing

field.addEventListener("input", () => updateDraft(field.value));
kinds.addEventListener("change", () => setText(converted(shown.text, shown.kind, kinds.value), kinds.value));
form.addEventListener("submit", set);
field.addEventListener("keydown", (event) => {
  const isNumber = shown.kind === "number";
  if (isNumber && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    step(event.key === "ArrowUp" ? 1 : -1, power(event));
  } else if (event.key === "Enter" && !event.isComposing && isSubmitKey(event)) {
    event.preventDefault();
    set();
  }
});

// Enter sets; among several lines, and in JSON, it is Ctrl Enter. Shift Enter begins a second line.
function isSubmitKey(event) {
  if (event.ctrlKey || event.metaKey) return true;
  const isOneLine = !field.value.includes("\n") && (shown.kind !== "JSON" || !/^\s*[[{]/.test(field.value));
  return shown.kind === "number" || (isOneLine && !event.shiftKey && !event.altKey);
}
