// The way in: a one-time code in the address becomes this window's secret, which lives as long as
// its tab and goes with every request. A cookie would go to every port of this computer.

const KEPT = "secret";
const THEME = "theme"; // as the window had it last, so that nothing flashes before it is there
const RETRY_MS = 500;
const OUT = "This window is signed out. The command  signalbox token --login  prints an address that opens it.";

const root = document.documentElement;
const plain = window.fetch.bind(window);
let secret = "";

/** All scripts ask through this, Datastar's as well, so that none can forget the secret. */
window.fetch = (address, options = {}) => {
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${secret}`);
  return plain(address, { ...options, headers });
};

/** The page's inside as HTML; null where nobody may see it. */
async function inside() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("code")) {
    // Used up in a moment, and nothing for the history; a window's name stays in its address.
    history.replaceState(null, "", given.has("window") ? `#${given.get("window")}` : location.pathname);
    const admitted = await redeemed(given.get("code"));
    if (admitted) return admitted;
  }
  secret = sessionStorage.getItem(KEPT) ?? "";
  return secret && reopened();
}

async function redeemed(code) {
  const headers = { "Content-Type": "application/json" };
  const answer = await plain("/redeem", { method: "POST", headers, body: JSON.stringify({ code }) });
  if (!answer.ok) return null;
  const admission = await answer.json();
  secret = admission.secret;
  sessionStorage.setItem(KEPT, secret);
  return admission.page;
}

/** What a page that is loaded again had; the server may be starting just now. */
async function reopened() {
  for (;;) {
    try {
      const answer = await fetch("/queries/window");
      return answer.ok ? await answer.text() : null;
    } catch {
      await new Promise((go) => setTimeout(go, RETRY_MS));
    }
  }
}

// They come while the answer does, but not before it was asked for.
function preload() {
  for (const name of root.dataset.modules.split(" ")) {
    const link = Object.assign(document.createElement("link"), { rel: "modulepreload", href: `/static/${name}.js` });
    document.head.append(link);
  }
}

async function open() {
  const asked = inside();
  preload();
  const html = await asked;
  if (!html) return refuse();
  const { body } = new DOMParser().parseFromString(html, "text/html");
  root.dataset.theme = body.dataset.theme;
  localStorage.setItem(THEME, body.dataset.theme);
  document.body = body;
  await import("./app.js");
}

function refuse() {
  const line = document.getElementById("door");
  line.textContent = OUT;
  line.hidden = false;
}

// Another address that is opened in this very tab changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#code=") && location.reload());
root.dataset.theme = localStorage.getItem(THEME) ?? "system";
open();
