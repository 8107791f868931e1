// What the window's own menu bar asks of the page: one of its commands by name, or to say something.

import { openSearch, runNamed } from "./palette.js";
import { openDialog } from "./picture.js";
import { reverseHere, tell } from "./undo.js";

const COMMANDS = {
  Find: openSearch,
  Undo: () => reverseHere("undo"),
  Redo: () => reverseHere("redo"),
};

document.addEventListener("signalbox-menu", ({ detail: { command, note } }) => {
  openDialog()?.close();
  if (note) tell(note);
  else if (COMMANDS[command]) COMMANDS[command]();
  else if (!runNamed(command)) tell("This is the past. Escape returns to live.");
});
