// Undo and redo of the last commands of this window, which the status line shows.

import { idle, onSettled, reason, tried } from "./commands.js";
import { hasDraft } from "./editor.js";
import { isPast } from "./past.js";
import { $, CTRL, byId, onChange, openDialog, announce } from "./signals.js";
import { resolve } from "./resolve.js";

const SEEN_MS = 10_000;
const UNSEEN = "_signalbox."; // the app's own keys

const PAST = "This is the past. Escape returns to live.";

const line = byId("done");
let turn = Promise.resolve();
let newest = 0; // of the commands that the line tells about
let timer = 0;

/** Undo this window's last command, or the one whose id is `of`. */
export const undo = (of) => reverse({ type: "undo", of });
/** Undo its last undo, or the one whose id is `of`. */
export const redo = (of) => reverse({ type: "redo", of });

// One after the other: a second press means what the first has left.
function reverse(command) {
  if (isPast()) return announce(PAST);
  const go = () => act(command);
  turn = turn.then(go, go);
}

async function act(command) {
  if ($._online) await idle();
  const outcome = await tried(command);
  if (outcome.effects) return resolve(command, outcome, await named(outcome.of[0]));
  if (outcome.code === "nothing_to_undo") return showNote(nothing(command));
  if (outcome.status !== "accepted") return showNote(reason(outcome));
  if (!outcome.changed) showNote("Everything is like that already.");
}

function nothing({ type, of }) {
  if (of) return type === "undo" ? "That is undone already." : "That is not undone.";
  return type === "undo" ? "Nothing left to undo in this window." : "Nothing to redo in this window.";
}

// What was done, in words

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
  return deed(await original(id));
}

function deed(record) {
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
function done(record, command) {
  const { touched = 1 } = record;
  const isDelete = command.commands?.every(({ type }) => type === "delete");
  const word = isDelete ? "Deleted" : (DONE[record.type] ?? "Changed");
  const whole = command.prefix ?? (command.to && command.key);
  if (!whole) return `${word} ${target(record)}`;
  const many = touched > 1 ? ` (${touched.toLocaleString("en")} keys)` : "";
  return `${word} ${whole}${command.to ? ` to ${command.to}` : ""}${many}`;
}

// Where it is said

onSettled(async (command, outcome) => {
  if (outcome.status !== "accepted" || !outcome.changed || command.key?.startsWith(UNSEEN)) return;
  const mine = ++newest;
  const isReversal = command.type === "undo" || command.type === "redo";
  const text = isReversal ? `${command.type === "undo" ? "Undid" : "Redid"} ${await named(outcome.id)}` : await plain(command, outcome.id);
  if (mine !== newest || !text) return;
  if (command.type === "undo") show(text, "Redo", () => redo(outcome.id));
  else show(text, "Undo", () => undo(outcome.id));
  // What a command did is said where it was given.
  if (isReversal) announce(`${text}. ${command.type === "undo" ? `Redo: Shift ${CTRL}Z` : `Undo: ${CTRL}Z`}`);
});

async function plain(command, id) {
  const record = await attempt(id);
  return record && done(record, command);
}

/** Say something in the status line, with a way to `act` on it. */
export function showNote(text, label, act) {
  newest += 1;
  show(text, label, act);
  announce(text);
}

function show(text, label, act) {
  const hadFocus = line.contains(document.activeElement);
  line.replaceChildren(Object.assign(document.createElement("span"), { textContent: text, title: text }));
  if (act) line.append(" · ", way(label, act));
  if (hadFocus) (line.querySelector("button") ?? byId("grid")).focus();
  clearTimeout(timer);
  timer = setTimeout(fade, SEEN_MS);
}

function way(label, act) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "link", textContent: label });
  button.addEventListener("click", act);
  return dress(button);
}

function dress(button) {
  const isOff = $._past !== "";
  return Object.assign(button, { disabled: isOff, title: isOff ? PAST : "" });
}

onChange(() => $._past !== "", () => line.querySelectorAll("button").forEach(dress));

// It stays while somebody is about to use it.
function fade() {
  if (line.matches(":hover, :focus-within")) timer = setTimeout(fade, SEEN_MS);
  else line.replaceChildren();
}

// Keys

// Where a text is being written the browser undoes that.
const isWritten = (element) =>
  element.matches?.('input[type="text"], textarea') && (element.id !== "draft" || hasDraft($.key));

/** Undo or redo as a menu means it: in a text that is being written, else what this window did. */
export function reverseHere(type) {
  if (isWritten(document.activeElement)) document.execCommand(type);
  else if (!$._form) (type === "redo" ? redo : undo)();
}

/** Whether a key press was one for undo or redo, which is done then. */
export function heed(event) {
  const key = event.key.toLowerCase();
  const isRedo = (key === "z" && event.shiftKey) || (key === "y" && event.ctrlKey && !event.shiftKey);
  if (!(event.ctrlKey || event.metaKey) || event.altKey || (key !== "z" && !isRedo)) return false;
  if (isWritten(event.target) || openDialog()) return false;
  if (!event.repeat && !$._form) (isRedo ? redo : undo)();
  return true;
}
