// What this program is: its version, where its data is, and the licences of what is inside.

import { byId } from "./signals.js";

const FROM_SOURCE = "Signalbox runs from its source here: each package that it uses carries its own licence.";

export async function about() {
  byId("this-engine").textContent = byId("foot").querySelector(".engine").textContent;
  byId("this").showModal();
  byId("licences").textContent ||= await licences();
}

// A bundle has them in one file.
async function licences() {
  try {
    const answer = await fetch("/static/licences.txt");
    return answer.ok ? await answer.text() : FROM_SOURCE;
  } catch {
    return ""; // they are fetched again when the dialog is opened again
  }
}
