// Restoring the past moment that is shown: what would change, exactly, then one command.

import { preview, send } from "./commands.js";
import { $, setSignals, byId, onChange, announce } from "./signals.js";
import { isPast, live, stop } from "./past.js";
import { compact, escaped } from "./values.js";

const LISTED = 50;
const LONGEST = 60; // characters of a value

const form = byId("restore");
const keys = (count) => (count === 1 ? "1 key" : `${count.toLocaleString("en")} keys`);
let without = []; // prefixes whose past is not kept so long
let asking = 0;

export function restoreMoment() {
  if (!isPast()) return;
  stop();
  const scope = $._match === "**" ? "all" : "match";
  form.querySelector(`[value="${scope}"]`).checked = true;
  setSignals({ _form: "restore" });
  show();
  form.querySelector(":checked").focus();
}

function wanted() {
  const scope = form.querySelector(":checked").value;
  const match = { key: $.key, match: $._match, all: "**" }[scope];
  return { type: "restore", to_revision: $._pastRevision, match, without };
}

// Another choice or moment begins with everything in it again.
function show() {
  without = [];
  return count();
}

async function count() {
  const mine = ++asking;
  const command = wanted();
  showMessage("", "counting…");
  byId("restore-go").disabled = true; // nothing is restored that has not been counted
  const outcome = await preview({ ...command, effects: LISTED });
  if (mine !== asking) return;
  byId("restore-rest").hidden = outcome.code !== "compacted";
  byId("restore-go").disabled = outcome.status !== "accepted" || outcome.changes === 0;
  byId("restore-go").textContent = outcome.changes ? `Restore ${keys(outcome.changes)}` : "Restore";
  if (outcome.status !== "accepted") {
    without = outcome.code === "compacted" ? outcome.keys : [];
    showMessage(outcome.message, "");
    byId("restore-list").replaceChildren();
    byId("restore-rest").disabled = without.includes("");
    return;
  }
  const left = command.without.length ? ` What is below ${command.without.join(", ")} stays as it is.` : "";
  showMessage("", (outcome.changes ? `${keys(outcome.changes)} will change.` : "Nothing would change.") + left);
  fill(outcome.effects, outcome.changes);
}

function showMessage(problem, text) {
  form.querySelector(".said").textContent = problem;
  byId("restore-count").textContent = text;
}

function fill(effects, changes) {
  const lines = effects.map(({ key, now, back }) => {
    const line = document.createElement("li");
    line.append(part("b", key), part("del", written(now)), " ", part("ins", written(back)));
    return line;
  });
  if (changes > effects.length) lines.push(part("li", `and ${keys(changes - effects.length)} more`));
  byId("restore-list").replaceChildren(...lines);
}

function part(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function written(value) {
  if (value === undefined) return "not there";
  const text = escaped(typeof value === "string" ? value : compact(value));
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

byId("restore-scope").addEventListener("change", show);
byId("restore-rest").addEventListener("click", count);
onChange(() => $._pastRevision, () => $._form === "restore" && isPast() && show());
form.addEventListener("submit", async () => {
  const when = $._past;
  const button = byId("restore-go");
  button.disabled = true;
  const outcome = await send(wanted());
  button.disabled = false;
  if (outcome.status !== "accepted") return showMessage(outcome.message, "");
  live();
  announce(`${keys(outcome.changes)} restored to ${when}`);
  byId("grid").focus();
});
