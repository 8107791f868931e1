// The menu bar of the app's window: runs a command of the page by name, or shows a note.

import { openSearch, runNamed } from "./palette.js";
import { openDialog } from "./signals.js";
import { reverseHere, showNote } from "./undo.js";

const COMMANDS = {
  Find: openSearch,
  Undo: () => reverseHere("undo"),
  Redo: () => reverseHere("redo"),
};

document.addEventListener("signalbox-menu", ({ detail: { command, note } }) => {
  openDialog()?.close();
  if (note) showNote(note);
  else if (COMMANDS[command]) COMMANDS[command]();
  else if (!runNamed(command)) showNote("This is the past. Escape returns to live.");
});
