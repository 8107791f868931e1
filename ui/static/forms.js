// Creating, renaming and deleting. What changes several keys shows their exact number first.

import { BATCH, preview, send } from "./commands.js";
import { inspectedItem } from "./editor.js";
import { choose, find, forget, marked, neighbour, shownRevision } from "./list.js";
import { $, setSignals, byId, onChange, onPatch, announce } from "./signals.js";
import { scope } from "./tree.js";
import { guessed, named } from "./values.js";

const MAX_NAMED = 8; // keys that are named before many are deleted
const COUNT_MS = 300; // at least between two counts while things change below an open form

const keys = (count) => (count === 1 ? "1 key" : `${count.toLocaleString("en")} keys`);
let target = { key: "" }; // of rename and delete: a key, a prefix with its dot, or several keys
let back = null; // the element that had the focus
let countNumber = 0;
let newest = null; // the promise of the count that was begun last
let shown = -1; // keys that the open form says it will change
let recount = 0;

// What was counted may change while a form is open: what it says stays true.
onPatch(() => {
  const count = { rename: countRename, delete: countDelete }[$._form];
  if (count && !recount) recount = setTimeout(() => ((recount = 0), $._form && count()), COUNT_MS);
});

/** What the keys were when the form was opened: nobody's later change is overwritten unseen. */
function expected(key) {
  const { key: inspected, revision } = inspectedItem();
  const known = key === inspected ? revision : shownRevision(key);
  return known ? { revision: known } : "present";
}

// While the server is away nothing is known of a key that is chosen now: the value of the previous
// one is not shown below its name.
function showWhetherAway() {
  byId("away-key").textContent = $.key;
  byId("inspector").classList.toggle("away", !$._online && inspectedItem().key !== $.key);
}
onPatch(showWhetherAway);
onChange(() => [$.key, $._online].join(" "), showWhetherAway);

/** Why a form's command was or would be rejected; Activity has the server's own words. */
function explain(outcome) {
  const { status, code, key, message } = outcome;
  if (status === "accepted") return "";
  if (code !== "conflict") return message;
  if ($._form === "create" || isTaken(outcome)) return `${key} exists already.`;
  return key ? `${key} has been changed meanwhile. Cancel, and look again.` : message;
}

/** Whether a rename is refused for what stands at its new name. */
function isTaken({ code, key }) {
  const to = $._form === "rename" ? renaming().to : "";
  return code === "conflict" && (key === to || (to.endsWith(".") && Boolean(key?.startsWith(to))));
}

/** Show a form in place of the inspector; the focus returns to where it was when it closes. */
export function open(name, focus) {
  back = document.activeElement;
  showMessage(name, "");
  setSignals({ _form: name });
  byId(focus).focus(); // at once, or the next letters typed would be shortcuts
  byId(focus).select?.();
}

/** Close the open form; whether there was one. */
export function close() {
  if (!$._form) return false;
  setSignals({ _form: "" });
  (back?.isConnected ? back : byId("grid")).focus();
  return true;
}

function showMessage(name, text) {
  byId(name).querySelector(".said").textContent = text;
}

/** Offer to open the key because of which a form was refused. */
function offerToOpen(name, key) {
  const link = document.createElement("button");
  Object.assign(link, { type: "button", className: "link", textContent: "Open it" });
  Object.assign(link.dataset, { do: "go", key });
  byId(name).querySelector(".said").append(" ", link);
}

async function submit(name, command, raw) {
  const button = byId(name).querySelector(".go");
  button.disabled = true;
  showMessage(name, "");
  const outcome = await send(command, raw);
  button.disabled = false;
  showMessage(name, explain(outcome));
  if (name === "create" && outcome.code === "conflict") offerToOpen(name, command.key);
  return outcome.status === "accepted" ? outcome : null;
}

// Create

export function create(key = "", value = "") {
  byId("create-key").value = key || $.prefix;
  byId("create-value").value = value;
  showKind();
  open("create", key ? "create-value" : "create-key");
  if (!key) byId("create-key").setSelectionRange(999, 999);
}

function showKind() {
  const text = byId("create-value").value;
  byId("create-value").rows = Math.min(16, text.split("\n").length);
  const { kind } = guessed(text);
  const named = { JSON: "JSON", null: "null", text: text ? "a text" : "an empty text" };
  byId("create-kind").textContent = named[kind] ?? `a ${kind}`;
}

byId("create-value").addEventListener("input", showKind);
byId("create-value").addEventListener("keydown", (event) => {
  const isLine = event.shiftKey || (byId("create-value").value.includes("\n") && !event.ctrlKey && !event.metaKey);
  if (event.key !== "Enter" || event.isComposing || isLine) return;
  event.preventDefault();
  byId("create").requestSubmit();
});
byId("create").addEventListener("submit", async () => {
  const key = named(byId("create-key").value);
  const { raw } = guessed(byId("create-value").value);
  if (!(await submit("create", { type: "set", key, expect: "absent" }, raw))) return;
  announce(`${key} is created`);
  close();
  setSignals({ view: "keys" });
  find(key);
});

// Rename

export function rename(from = $.key || $.prefix, to = from) {
  if (!from) return;
  target = { key: from, expect: from.endsWith(".") ? undefined : expected(from) };
  byId("rename-from").textContent = from;
  byId("rename-to").value = to;
  byId("rename-count").textContent = "";
  byId("rename-replace").checked = false;
  showReplace(false);
  open("rename", "rename-to");
  if (to !== from) countRename();
}

function renaming() {
  const to = named(byId("rename-to").value);
  const isHalf = target.key.endsWith(".") && !to.endsWith(".");
  const replace = byId("rename-replace").checked || undefined;
  return { type: "rename", key: target.key, to: isHalf ? `${to}.` : to, expect: target.expect, replace };
}

const countRename = () => (newest = countOfRename());

async function countOfRename() {
  const mine = ++countNumber;
  const command = renaming();
  if (command.to === target.key) {
    byId("rename-count").textContent = "";
    return showReplace(false);
  }
  const outcome = await preview(command);
  const count = await moved(command, outcome);
  if (mine !== countNumber) return newest; // whoever waits for a count waits for what is shown
  const isPossible = outcome.status === "accepted";
  shown = isPossible ? count : -1;
  const text = isPossible ? `${keys(count)} will be renamed.` : explain(outcome);
  byId("rename-count").textContent = text;
  showReplace(isTaken(outcome));
  if (byId("rename").querySelector(".said").textContent === text) showMessage("rename", "");
}

/** Offer to replace only where something is there, or has been said to be replaced. */
function showReplace(isThere) {
  const box = byId("rename-replace");
  box.closest("label").hidden = !isThere && !box.checked;
}

// Every key that is renamed makes two changes: one at its new name, one at its old name. It is only
// one where the new name has the same value already.
async function moved({ key, replace }, { changes = 0 }) {
  if (!key.endsWith(".")) return 1;
  if (!replace) return changes / 2;
  const query = new URLSearchParams({ match: `${key}**`, limit: 1 });
  const answer = await fetch(`/queries/state?${query}`).catch(() => null);
  return answer?.ok ? (await answer.json()).total : 0;
}

byId("rename-to").addEventListener("input", countRename);
byId("rename-replace").addEventListener("change", countRename);
byId("rename").addEventListener("submit", async () => {
  const command = renaming();
  const isMany = target.key.endsWith(".");
  if (isMany && (await differs(countRename))) return showMessage("rename", "The number has just changed. Once more?");
  if (!(await submit("rename", command))) return countRename();
  announce(`${command.key} is now ${command.to}`);
  close();
  if (!command.to.endsWith(".")) return forget([command.key]), find(command.to);
  scope(command.to);
});

// Delete

export async function remove(what = chosen()) {
  if (!what.key && !what.keys) return;
  const all = what.keys ?? (what.key.endsWith(".") ? [] : [what.key]);
  target = { ...what, expect: new Map(all.map((key) => [key, expected(key)])) };
  byId("delete-what").textContent = what.key ?? listed(what.keys);
  byId("delete-count").textContent = "counting…";
  byId("delete-go").disabled = true;
  open("delete", "delete-go");
  await countDelete();
  byId("delete-go").focus();
}

/** Count once more; whether it is another number than the form said. */
async function differs(count) {
  const before = shown;
  await count();
  return shown !== before;
}

function listed(several) {
  return several.slice(0, MAX_NAMED).join(", ") + (several.length > MAX_NAMED ? " …" : "");
}

function chosen() {
  return marked().length > 1 ? { keys: marked() } : { key: $.key || $.prefix };
}

function deleting() {
  const { key, keys: several, expect } = target;
  const one = (each) => ({ type: "delete", key: each, expect: expect.get(each) });
  if (several) return { type: "batch", commands: several.slice(0, BATCH).map(one) };
  return key.endsWith(".") ? { type: "delete_prefix", prefix: key } : one(key);
}

const countDelete = () => (newest = countOfDelete());

async function countOfDelete() {
  const mine = ++countNumber;
  const outcome = await preview(deleting());
  if (mine !== countNumber) return newest; // whoever waits for a count waits for what is shown
  const isPossible = outcome.status === "accepted";
  shown = isPossible ? outcome.changes : -1;
  byId("delete-count").textContent = isPossible ? `${keys(shown)} will be deleted.` : explain(outcome);
  byId("delete-go").textContent = isPossible ? `Delete ${keys(outcome.changes)}` : "Delete";
  byId("delete-go").disabled = !isPossible || outcome.changes === 0;
}

byId("delete").addEventListener("submit", async () => {
  if (await differs(countDelete)) return showMessage("delete", "The number has just changed. Once more?");
  const next = neighbour(target.keys ?? [target.key]);
  const outcome = await submit("delete", deleting());
  if (!outcome) return;
  announce(`${keys(outcome.changes)} deleted`);
  close();
  if (target.key?.endsWith(".")) scope("");
  else choose(next);
  byId("grid").focus();
});
