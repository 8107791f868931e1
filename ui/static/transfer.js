// Export to a file, and import of one, with a preview by the server.

import { strangerMessage } from "./access.js";
import { $, byId } from "./signals.js";
import { isPast } from "./past.js";
import { save } from "./save.js";
import { showNote, undo } from "./undo.js";
import { escaped } from "./values.js";

const BROKEN = "The server did not answer to the end: it is away, or the file cannot be read any more.";
const MAX_NAMED = 8; // rejected lines that the preview names

const input = byId("import");
const dialog = byId("import-preview");
const confirm = byId("import-confirm");
const encoding = byId("import-encoding");
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
let previewNumber = 0;

/** All keys, as they are at the moment that is shown. */
export async function exportAs(format) {
  const at = isPast() ? { at: $._pastRevision } : {};
  const name = `signalbox${isPast() ? `-${$._pastRevision}` : ""}.${format}`;
  const problem = await save({ format, ...at }, name);
  if (problem) showNote(`${name} was not saved. ${problem}`);
}

export function importFile() {
  input.value = ""; // so that the same file can be chosen again
  input.click();
}

input.addEventListener("change", () => {
  if (!input.files.length) return;
  encoding.value = "utf-8";
  byId("import-title").textContent = `Import ${escaped(input.files[0].name)}`;
  dialog.showModal();
  preview();
});
encoding.addEventListener("change", preview);
byId("import-cancel").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => (previewNumber += 1)); // an answer that still comes is ignored

/** What the import would do. The server reads the file, so that both read the same. */
async function preview() {
  const mine = ++previewNumber;
  confirm.disabled = true;
  show("Reading…", []);
  let lines;
  try {
    lines = await importRequest({ dry_run: "1" });
  } catch {
    lines = [{ status: "rejected", message: strangerMessage() || BROKEN }];
  }
  if (mine !== previewNumber) return;
  const { status, message, changes = 0 } = lines.at(-1);
  confirm.disabled = status !== "accepted" || changes === 0;
  show(status === "accepted" ? previewText(lines.at(-1)) : message, rejected(lines));
  if (!confirm.disabled) confirm.focus();
}

function previewText(summary) {
  const { format, accepted, duplicates, revision, new: added, changed, equal, deleted } = summary;
  if (format === "history") return `A history: ${count(accepted, "transaction")} would be taken, ${duplicates.toLocaleString("en")} are there.`;
  const parts = [`${added.toLocaleString("en")} new`, `${changed.toLocaleString("en")} changed`];
  if (deleted) parts.push(`${deleted.toLocaleString("en")} deleted`);
  parts.push(`${equal.toLocaleString("en")} equal`);
  return `${parts.join(", ")}, compared with revision ${revision.toLocaleString("en")}.`;
}

function show(text, bad) {
  byId("import-count").textContent = text;
  byId("import-bad").textContent = bad.length ? `${count(bad.length, "line")} cannot be read:` : "";
  const named = bad.slice(0, MAX_NAMED).map(({ line, message }) => `Line ${line.toLocaleString("en")}: ${message}`);
  if (bad.length > MAX_NAMED) named.push(`and ${count(bad.length - MAX_NAMED, "more line")}`);
  byId("import-lines").replaceChildren(...named.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

confirm.addEventListener("click", async () => {
  const name = escaped(input.files[0].name);
  dialog.close();
  showNote(`Importing ${name}…`);
  const id = crypto.randomUUID();
  try {
    report(name, id, await importRequest({ id }));
  } catch {
    showNote(`${name}: ${strangerMessage() || BROKEN} Activity lists what was imported.`);
  }
});

/** The lines of the answer; the last one is the summary. */
async function importRequest(more) {
  const [file] = input.files;
  const query = new URLSearchParams({ actor: $.actor, name: file.name, encoding: encoding.value, ...more });
  const headers = { "Content-Type": "application/octet-stream" };
  const answer = await fetch(`/commands/import?${query}`, { method: "POST", headers, body: file });
  const lines = (await answer.text()).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

const rejected = (lines) => lines.filter(({ type }) => type === "rejected");

function report(name, id, lines) {
  const { status, message, accepted = 0, changes = 0 } = lines.at(-1);
  const bad = rejected(lines);
  const parts = [`Imported ${name}: ${count(changes, "change")}`];
  if (bad.length) parts.push(`${count(bad.length, "line")} rejected, line ${bad[0].line}: ${bad[0].message}`);
  if (status !== "accepted") parts.push(accepted ? `ended early: ${message}` : message);
  showNote(parts.join("; "), ...(changes ? ["Undo", () => undo(id)] : []));
}
