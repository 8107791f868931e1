// The first script of every tab: fetches the content of the page, inserts it, and loads its scripts.

import "./early.js";
import { inside, keep, strange } from "./access.js";

const THEME = "theme"; // as the window had it last, so that nothing flashes before it is there
const OUT = "This window is signed out. The command  signalbox token --login  prints an address that opens it.";

const root = document.documentElement;

async function open() {
  const html = await inside();
  if (!html) return refuse();
  const { body } = new DOMParser().parseFromString(html, "text/html");
  root.dataset.theme = body.dataset.theme;
  localStorage.setItem(THEME, body.dataset.theme);
  document.body = body;
  keep(body.dataset.page);
  await styles();
  await import("./app.js");
}

/** The scripts measure the page, which has its size once each style is here or cannot be had. */
const styles = () => Promise.all([...document.querySelectorAll("link[rel=stylesheet]")].map(arrived));

const arrived = (link) => link.sheet ?? new Promise((go) => ["load", "error"].forEach((kind) => link.addEventListener(kind, go)));

function refuse() {
  const line = document.getElementById("door");
  line.textContent = strange() || OUT;
  line.hidden = false;
}

// Another address that is opened in this very tab changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#code=") && location.reload());
root.dataset.theme = localStorage.getItem(THEME) ?? "system";
open();
