// Where others have changed the keys that an undo is about: for each key, keep theirs or take mine.

import { preview, reason, sendIfAccepted } from "./commands.js";
import { close, open } from "./forms.js";
import { $, byId, now, announce } from "./signals.js";
import { compact, escaped } from "./values.js";

const MAX_SHOWN = 120; // characters of a value

const form = byId("undo");
let command = {}; // the undo or redo that was refused
let effects = new Map(); // key -> { actor, revision, at, now?, back? }, as the refusal has them
let choices = new Map(); // key -> "theirs" | "mine"
let countNumber = 0;

/** Show the form for the keys of a refused undo or redo of `name`. */
export function resolve(refused, conflict, name) {
  [effects, choices] = [new Map(), new Map()];
  command = { ...refused, of: refused.of ?? conflict.of[0] };
  form.querySelector("h1").textContent = `${word()} ${name}`;
  addEffects(conflict);
  showMessage("");
  open("undo", "undo-go");
  byId("undo-keys").querySelector("input").focus();
  announce(`${word()} ${name}. ${byId("undo-what").textContent}`);
}

const word = () => (command.type === "undo" ? "Undo" : "Redo");

// The form

/** Add the keys of a refusal to the form, with theirs chosen. */
function addEffects(conflict) {
  for (const effect of conflict.effects) {
    effects.set(effect.key, effect);
    choices.set(effect.key, "theirs");
  }
  show();
}

function show() {
  byId("undo-all").hidden = effects.size < 2;
  byId("undo-what").textContent =
    effects.size === 1
      ? "This key has been changed since. Which value shall it have?"
      : `These ${effects.size} keys have been changed since. Which values shall they have?`;
  byId("undo-keys").replaceChildren(...[...effects.keys()].sort().map(choice));
  count();
}

/** The button says what it does: nothing, where every value stays as it is. */
async function count() {
  const mine = ++countNumber;
  const outcome = await preview(chosen());
  if (mine !== countNumber) return;
  const { status, changes } = outcome;
  const many = changes === 1 ? "1 key" : `${changes?.toLocaleString("en")} keys`;
  byId("undo-go").textContent = status !== "accepted" ? word() : changes ? `${word()} ${many}` : "Keep all as it is";
}

/** The command with what is chosen for each key. */
function chosen() {
  const keys = [...effects.keys()];
  const keep = keys.filter((key) => choices.get(key) === "theirs");
  const taken = keys.filter((key) => choices.get(key) === "mine");
  const replace = Object.fromEntries(taken.map((key) => [key, effects.get(key).revision]));
  return { ...command, keep, replace };
}

function choice(key, i) {
  const { actor, at, now: theirs, back: mine } = effects.get(key);
  const group = element("fieldset");
  const change = theirs === undefined ? "deleted" : "set";
  group.append(element("legend", key));
  group.append(option(i, key, "theirs", "Keep theirs", theirs, `${change} by ${who(actor)} ${time(at)}`));
  group.append(option(i, key, "mine", "Take mine", mine, mine === undefined ? "deletes the key, which was not there before" : "as it was before"));
  return group;
}

function option(i, key, side, label, value, note) {
  const made = element("label");
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: `undo-${i}`, value: side, checked: choices.get(key) === side });
  radio.dataset.key = key;
  made.append(radio, element("b", label), element("code", shown(value)), element("small", note));
  return made;
}

function shown(value) {
  if (value === undefined) return "not there";
  const raw = compact(value);
  return escaped(raw.length > MAX_SHOWN ? `${raw.slice(0, MAX_SHOWN - 1)}…` : raw);
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

function showMessage(text) {
  form.querySelector(".said").textContent = text;
}

/** Choose the same for all keys. */
export function chooseAll(what) {
  for (const key of effects.keys()) choices.set(key, what);
  for (const radio of byId("undo-keys").querySelectorAll("input")) radio.checked = radio.value === what;
  count();
}

form.addEventListener("change", ({ target }) => {
  choices.set(target.dataset.key, target.value);
  count();
});
form.addEventListener("submit", async () => {
  showMessage("");
  byId("undo-go").disabled = true;
  const outcome = await sendIfAccepted(chosen());
  if (outcome.effects) again(outcome);
  else if (outcome.status !== "accepted") showMessage(reason(outcome));
  else end(outcome);
  byId("undo-go").disabled = false;
});

function again(conflict) {
  addEffects(conflict);
  showMessage(`Changed just now: ${conflict.effects.map(({ key }) => key).join(", ")}. Look again.`);
}

function end({ changed }) {
  close();
  if (!changed) announce("All is kept as it is.");
}
