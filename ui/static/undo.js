// Undo and redo of the last commands of this window, which the status line shows.

import { idle, onSettled, reason, sendIfAccepted } from "./commands.js";
import { hasDraft } from "./editor.js";
import { isPast } from "./past.js";
import { $, CTRL, byId, onChange, openDialog, announce } from "./signals.js";
import { resolve } from "./resolve.js";

const SHOWN_MS = 10_000;
const APP_PREFIX = "_signalbox."; // the app's own keys

const IN_PAST = "This is the past. Escape returns to live.";

const line = byId("done");
let lastReversal = Promise.resolve();
let newest = 0; // number of the last command that the status line is about
let timer = 0;

/** Undo this window's last command, or the one whose id is `of`. */
export const undo = (of) => reverse({ type: "undo", of });
/** Undo its last undo, or the one whose id is `of`. */
export const redo = (of) => reverse({ type: "redo", of });

// One after the other: a second press is about what the first has left.
function reverse(command) {
  if (isPast()) return announce(IN_PAST);
  const go = () => act(command);
  lastReversal = lastReversal.then(go, go);
}

async function act(command) {
  if ($._online) await idle();
  const outcome = await sendIfAccepted(command);
  if (outcome.effects) return resolve(command, outcome, await named(outcome.of[0]));
  if (outcome.code === "nothing_to_undo") return showNote(nothing(command));
  if (outcome.status !== "accepted") return showNote(reason(outcome));
  if (!outcome.changed) showNote("Everything is like that already.");
}

function nothing({ type, of }) {
  if (of) return type === "undo" ? "That is undone already." : "That is not undone.";
  return type === "undo" ? "Nothing left to undo in this window." : "Nothing to redo in this window.";
}

// Commands and their outcomes, in words

async function attempt(id) {
  try {
    const answer = await fetch(`/queries/attempts/${encodeURIComponent(id)}`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The command that an undo, or the redo of one, is about. */
async function original(id) {
  const record = await attempt(id);
  const isReversal = record?.type === "undo" || record?.type === "redo";
  return isReversal && record.of?.length ? original(record.of[0]) : record;
}

async function named(id) {
  return commandText(await original(id));
}

function commandText(record) {
  if (!record) return "a command";
  return `${{ delete_prefix: "delete", batch: "change" }[record.type] ?? record.type} of ${target(record)}`;
}

function target({ key, to, touched = 1 }) {
  const moved = to ? ` to ${to}` : "";
  if (touched === 1) return `${key}${moved}`;
  const count = `${touched.toLocaleString("en")} keys`;
  return key ? `${count} below ${key}${moved}` : count;
}

const DONE = { set: "Set", add: "Changed", toggle: "Switched", merge: "Changed", delete: "Deleted", delete_prefix: "Deleted", rename: "Renamed", restore: "Restored" };

// A prefix is named as what was changed where all of it was.
function outcomeText(record, command) {
  const { touched = 1 } = record;
  const isDelete = command.commands?.every(({ type }) => type === "delete");
  const word = isDelete ? "Deleted" : (DONE[record.type] ?? "Changed");
  const whole = command.prefix ?? (command.to && command.key);
  if (!whole) return `${word} ${target(record)}`;
  const many = touched > 1 ? ` (${touched.toLocaleString("en")} keys)` : "";
  return `${word} ${whole}${command.to ? ` to ${command.to}` : ""}${many}`;
}

// The status line

onSettled(async (command, outcome) => {
  if (outcome.status !== "accepted" || !outcome.changed || command.key?.startsWith(APP_PREFIX)) return;
  const mine = ++newest;
  const isReversal = command.type === "undo" || command.type === "redo";
  const text = isReversal ? `${command.type === "undo" ? "Undid" : "Redid"} ${await named(outcome.id)}` : await plain(command, outcome.id);
  if (mine !== newest || !text) return;
  if (command.type === "undo") show(text, "Redo", () => redo(outcome.id));
  else show(text, "Undo", () => undo(outcome.id));
  // The outcome of another command is announced where it was given.
  if (isReversal) announce(`${text}. ${command.type === "undo" ? `Redo: Shift ${CTRL}Z` : `Undo: ${CTRL}Z`}`);
});

async function plain(command, id) {
  const record = await attempt(id);
  return record && outcomeText(record, command);
}

/** Show a note in the status line, with a button that calls `act`. */
export function showNote(text, label, act) {
  newest += 1;
  show(text, label, act);
  announce(text);
}

function show(text, label, act) {
  const hadFocus = line.contains(document.activeElement);
  line.replaceChildren(Object.assign(document.createElement("span"), { textContent: text, title: text }));
  if (act) line.append(" · ", actionButton(label, act));
  if (hadFocus) (line.querySelector("button") ?? byId("grid")).focus();
  clearTimeout(timer);
  timer = setTimeout(fade, SHOWN_MS);
}

function actionButton(label, act) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "link", textContent: label });
  button.addEventListener("click", act);
  return disableInPast(button);
}

function disableInPast(button) {
  const isOff = $._past !== "";
  return Object.assign(button, { disabled: isOff, title: isOff ? IN_PAST : "" });
}

onChange(() => $._past !== "", () => line.querySelectorAll("button").forEach(disableInPast));

// It stays while somebody is about to use it.
function fade() {
  if (line.matches(":hover, :focus-within")) timer = setTimeout(fade, SHOWN_MS);
  else line.replaceChildren();
}

// Keys

// Where a text is being edited, the browser undoes the editing.
const isTextField = (element) =>
  element.matches?.('input[type="text"], textarea') && (element.id !== "draft" || hasDraft($.key));

/** Undo or redo as a menu means it: the editing of a text, else this window's last command. */
export function reverseHere(type) {
  if (isTextField(document.activeElement)) document.execCommand(type);
  else if (!$._form) (type === "redo" ? redo : undo)();
}

/** Undo or redo where the key press is for that; whether it was. */
export function handleUndoKey(event) {
  const key = event.key.toLowerCase();
  const isRedo = (key === "z" && event.shiftKey) || (key === "y" && event.ctrlKey && !event.shiftKey);
  if (!(event.ctrlKey || event.metaKey) || event.altKey || (key !== "z" && !isRedo)) return false;
  if (isTextField(event.target) || openDialog()) return false;
  if (!event.repeat && !$._form) (isRedo ? redo : undo)();
  return true;
}
