// Restoring the past moment that is shown: what would change, exactly, then one command.

import { preview, send } from "./commands.js";
import { $, setSignals, byId, onChange, announce } from "./signals.js";
import { isPast, live, stop } from "./past.js";
import { compact, escaped } from "./values.js";

const MAX_LISTED = 50;
const MAX_SHOWN = 60; // characters of a value

const form = byId("restore");
const keys = (count) => (count === 1 ? "1 key" : `${count.toLocaleString("en")} keys`);
let without = []; // prefixes whose state at that moment is not complete
let countNumber = 0;

export function restoreMoment() {
  if (!isPast()) return;
  stop();
  const scope = $._match === "**" ? "all" : "match";
  form.querySelector(`[value="${scope}"]`).checked = true;
  setSignals({ _form: "restore" });
  show();
  form.querySelector(":checked").focus();
}

function restoreCommand() {
  const scope = form.querySelector(":checked").value;
  const match = { key: $.key, match: $._match, all: "**" }[scope];
  return { type: "restore", to_revision: $._pastRevision, match, without };
}

// After another choice or moment no prefix is left out.
function show() {
  without = [];
  return count();
}

async function count() {
  const mine = ++countNumber;
  const command = restoreCommand();
  showMessage("", "counting…");
  byId("restore-go").disabled = true; // nothing is restored that has not been counted
  const outcome = await preview({ ...command, effects: MAX_LISTED });
  if (mine !== countNumber) return;
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
    line.append(part("b", key), part("del", shownValue(now)), " ", part("ins", shownValue(back)));
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

function shownValue(value) {
  if (value === undefined) return "not there";
  const text = escaped(typeof value === "string" ? value : compact(value));
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

byId("restore-scope").addEventListener("change", show);
byId("restore-rest").addEventListener("click", count);
onChange(() => $._pastRevision, () => $._form === "restore" && isPast() && show());
form.addEventListener("submit", async () => {
  const when = $._past;
  const button = byId("restore-go");
  button.disabled = true;
  const outcome = await send(restoreCommand());
  button.disabled = false;
  if (outcome.status !== "accepted") return showMessage(outcome.message, "");
  live();
  announce(`${keys(outcome.changes)} restored to ${when}`);
  byId("grid").focus();
});
