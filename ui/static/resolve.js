// Where others have changed the keys that an undo is about: for each key, keep theirs or take mine.

import { preview, reason, tried } from "./commands.js";
import { close, open } from "./forms.js";
import { $, byId, now, say } from "./picture.js";
import { compact, escaped, exactly } from "./values.js";

const LONGEST = 120; // characters of a value
const SEARCHED = 100; // versions of a key among which that of an import is looked for

const form = byId("undo");
let command = {}; // the undo or redo that was refused
let of = []; // the ids of what it reverses
let versions = new Map(); // key -> { theirs: {revision, raw, actor, at}, mine: raw | null }
let choices = new Map(); // key -> "theirs" | "mine"
let asking = 0;

/** Ask what to do about the keys of a refused undo or redo of `name`, and do that. */
export async function resolve(refused, conflict, name) {
  [of, versions, choices] = [conflict.of, new Map(), new Map()];
  command = { ...refused, of: refused.of ?? of[0] };
  form.querySelector("h1").textContent = `${word()} ${name}`;
  if (!(await look(conflict.keys))) return say("The server does not answer.");
  tell("");
  open("undo", "undo-go");
  byId("undo-keys").querySelector("input").focus();
  say(`${word()} ${name}. ${byId("undo-what").textContent}`);
}

const word = () => (command.type === "undo" ? "Undo" : "Redo");

// What it is and what it would be

/** Read the keys anew and show them all; those that are news, or null without an answer. */
async function look(keys) {
  const all = [...new Set([...versions.keys(), ...keys])].sort();
  const found = await read(all);
  if (!found) return null;
  const news = all.filter((key) => versions.get(key)?.theirs.revision !== found.get(key).theirs.revision);
  for (const key of news) choices.set(key, "theirs");
  versions = found;
  show();
  return news;
}

async function read(keys) {
  try {
    const base = (await json(`/queries/attempts/${encodeURIComponent(of[0])}`)).revision;
    return new Map(await Promise.all(keys.map(async (key) => [key, await both(key, base)])));
  } catch {
    return null; // the server is away
  }
}

async function both(key, base) {
  const path = encodeURIComponent(key);
  const limit = of.length > 1 ? SEARCHED : 1;
  const { items } = await json(`/queries/history/${path}?limit=${limit}`);
  const own = items.filter(({ id }) => of.includes(id)).at(-1)?.revision ?? base;
  const before = await json(`/queries/state/${path}?at=${Number(own) - 1}`);
  const [{ revision, actor, at, value }] = items;
  return { theirs: { revision: Number(revision), actor, at, raw: written(value) }, mine: written(before?.value) };
}

const written = (value) => (value === undefined ? null : compact(value));

/** The JSON at `path` with its numbers as they are written; null where there is nothing. */
async function json(path) {
  const answer = await fetch(path);
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(path);
  return exactly(await answer.text());
}

// The form

function show() {
  byId("undo-all").hidden = versions.size < 2;
  byId("undo-what").textContent =
    versions.size === 1
      ? "This key has been changed since. Which value shall it have?"
      : `These ${versions.size} keys have been changed since. Which values shall they have?`;
  byId("undo-keys").replaceChildren(...[...versions].map(choice));
  count();
}

/** The button says what it does: nothing, where every value stays as it is. */
async function count() {
  const mine = ++asking;
  const outcome = await preview(chosen());
  if (mine !== asking) return;
  const { status, changes } = outcome;
  const many = changes === 1 ? "1 key" : `${changes?.toLocaleString("en")} keys`;
  byId("undo-go").textContent = status !== "accepted" ? word() : changes ? `${word()} ${many}` : "Keep all as it is";
}

/** The command with what is chosen for each key. */
function chosen() {
  const keys = [...versions.keys()];
  const keep = keys.filter((key) => choices.get(key) === "theirs");
  const taken = keys.filter((key) => choices.get(key) === "mine");
  const replace = Object.fromEntries(taken.map((key) => [key, versions.get(key).theirs.revision]));
  return { ...command, keep, replace };
}

function choice([key, { theirs, mine }], i) {
  const group = element("fieldset");
  const change = theirs.raw === null ? "deleted" : "set";
  group.append(element("legend", key));
  group.append(option(i, key, "theirs", "Keep theirs", theirs.raw, `${change} by ${who(theirs.actor)} ${time(theirs.at)}`));
  group.append(option(i, key, "mine", "Take mine", mine, mine === null ? "deletes the key, which was not there before" : "as it was before"));
  return group;
}

function option(i, key, value, label, raw, note) {
  const made = element("label");
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: `undo-${i}`, value, checked: choices.get(key) === value });
  radio.dataset.key = key;
  made.append(radio, element("b", label), element("code", shown(raw)), element("small", note));
  return made;
}

function shown(raw) {
  if (raw === null) return "not there";
  return escaped(raw.length > LONGEST ? `${raw.slice(0, LONGEST - 1)}…` : raw);
}

function who(actor) {
  if (actor === $.actor) return "this window";
  return actor.startsWith("window.") ? "another window" : actor;
}

// As the server writes a moment: `today 14:03:22`, `3 Nov 14:03:22`.
function time(at) {
  const [then, today] = [new Date(at), new Date(now())];
  const year = then.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  const date = then.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...year });
  const day = then.toDateString() === today.toDateString() ? "today" : date;
  return `${day} ${then.toTimeString().slice(0, 8)}`;
}

function element(name, text = "") {
  return Object.assign(document.createElement(name), { textContent: text });
}

function tell(text) {
  form.querySelector(".said").textContent = text;
}

/** Choose the same for all keys. */
export function chooseAll(what) {
  for (const key of versions.keys()) choices.set(key, what);
  for (const radio of byId("undo-keys").querySelectorAll("input")) radio.checked = radio.value === what;
  count();
}

form.addEventListener("change", ({ target }) => {
  choices.set(target.dataset.key, target.value);
  count();
});
form.addEventListener("submit", async () => {
  tell("");
  byId("undo-go").disabled = true;
  const outcome = await tried(chosen());
  if (outcome.code === "conflict") await again(outcome.keys);
  else if (outcome.status !== "accepted") tell(reason(outcome));
  else end(outcome);
  byId("undo-go").disabled = false;
});

async function again(keys) {
  const news = await look(keys);
  tell(news ? `Changed just now: ${news.join(", ")}. Look again.` : "The server does not answer.");
}

function end({ changed }) {
  close();
  if (!changed) say("All is kept as it is.");
}
