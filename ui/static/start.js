// The first script of every tab: fetches the content of the page, inserts it, and loads its scripts.

import "./early.js";
import { fetchPage, rememberPage, strangerMessage } from "./access.js";

const THEME = "theme"; // the window's last theme, so that the page does not flash in another one
const PAINT_MS = 100;
const SIGNED_OUT = "This window is signed out. The command  signalbox token --login  prints an address that opens it.";

const root = document.documentElement;

async function open() {
  const html = await fetchPage();
  if (!html) return refuse();
  const { body } = new DOMParser().parseFromString(html, "text/html");
  root.dataset.theme = body.dataset.theme;
  localStorage.setItem(THEME, body.dataset.theme);
  document.body = body;
  rememberPage(body.dataset.page);
  await stylesLoaded();
  await painted();
  await import("./app.js");
}

/** Once the rows can be seen, which the scripts would hold up; what is out of sight is not painted. */
const painted = () =>
  new Promise((go) => {
    requestAnimationFrame(() => setTimeout(go));
    setTimeout(go, PAINT_MS);
  });

/** Once every style sheet is loaded or has failed: the scripts measure the page. */
const stylesLoaded = () => Promise.all([...document.querySelectorAll("link[rel=stylesheet]")].map(styleLoaded));

const styleLoaded = (link) => link.sheet ?? new Promise((go) => ["load", "error"].forEach((kind) => link.addEventListener(kind, go)));

function refuse() {
  const line = document.getElementById("door");
  line.textContent = strangerMessage() || SIGNED_OUT;
  line.hidden = false;
}

// Another address that is opened in this very tab changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#code=") && location.reload());
root.dataset.theme = localStorage.getItem(THEME) ?? "system";
open();
