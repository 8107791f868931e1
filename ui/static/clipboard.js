// Copies keys and values to the clipboard.

import { inspectedItem } from "./editor.js";
import { $, announce } from "./signals.js";

const SHOWN_MS = 1_200;

/** Copy `text`; the button that was pressed says so. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  announce("Copied");
  if (!button || button.textContent === "Copied") return;
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), SHOWN_MS);
}

// Where the embedding window grants no clipboard.
function copyBySelection(text) {
  const holder = document.createElement("textarea");
  holder.value = text;
  holder.className = "unseen";
  document.body.append(holder);
  holder.select();
  document.execCommand("copy");
  holder.remove();
}

/** Copy the inspected key's value: a text as it is, anything else as JSON. */
export function copyValue(button) {
  const { key, raw } = inspectedItem();
  if (!raw || key !== $.key) return;
  copy(raw[0] === '"' ? JSON.parse(raw) : raw, button);
}
