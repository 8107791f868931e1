// Files: keys to a file that the system asks a place for, and commands or keys from one.

import { $, byId } from "./picture.js";
import { isPast } from "./past.js";
import { save } from "./save.js";
import { tell, undo } from "./undo.js";

const input = byId("import");
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

/** All keys, as they are at the moment that is shown. */
export async function exportAs(format) {
  const at = isPast() ? { at: $._pastRevision } : {};
  const name = `signalbox${isPast() ? `-${$._pastRevision}` : ""}.${format}`;
  const problem = await save({ format, ...at }, name);
  if (problem) tell(`${name} was not saved. ${problem}`);
}

export function importFile() {
  input.value = ""; // so that the same file can be chosen again
  input.click();
}

input.addEventListener("change", async () => {
  const [file] = input.files;
  if (!file) return;
  tell(`Importing ${file.name}…`);
  const id = crypto.randomUUID();
  try {
    const body = /\.json$/i.test(file.name) ? commands(await file.text()) : file;
    report(file.name, id, await sent(id, body));
  } catch (error) {
    tell(`${file.name} was not imported. ${error.message}`);
  }
});

/** The lines of the answer; the last one is the summary. */
async function sent(id, body) {
  const query = new URLSearchParams({ id, actor: $.actor });
  const headers = { "Content-Type": "application/x-ndjson" };
  const answer = await fetch(`/commands/import?${query}`, { method: "POST", headers, body });
  const lines = (await answer.text()).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

function report(name, id, lines) {
  const { status, message, accepted = 0, changes = 0 } = lines.at(-1);
  const rejected = lines.filter(({ type }) => type === "rejected");
  const parts = [`Imported ${name}: ${count(changes, "change")}`];
  if (rejected.length) parts.push(`${count(rejected.length, "line")} rejected, line ${rejected[0].line}: ${rejected[0].message}`);
  if (status !== "accepted") parts.push(accepted ? `ended early: ${message}` : message);
  tell(parts.join("; "), ...(changes ? ["Undo", () => undo(id)] : []));
}

// Numbers keep every digit, where the browser can do that.
const exact = (_key, value, { source } = {}) =>
  typeof value === "number" && source && JSON.rawJSON ? JSON.rawJSON(source) : value;

/** One object of keys and their values, as JSON exports have it, as commands. */
function commands(text) {
  const state = JSON.parse(text, exact);
  if (state === null || typeof state !== "object" || Array.isArray(state)) {
    throw new Error("A JSON file has one object: keys and their values.");
  }
  return Object.entries(state).map(([key, value]) => JSON.stringify({ type: "set", key, value })).join("\n");
}
