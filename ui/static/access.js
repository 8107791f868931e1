// Login: a one-time code in the address is exchanged for this window's secret, which authenticates
// every request. It is kept in memory alone: what a tab stores can be read by a program that gets the
// port after a crash, so that is a code which is invalid in another run of the server. A cookie would
// be sent to every port of this computer.

const KEPT = "again";
const PAGE = "page"; // what the server calls the page that this tab shows
const RELOAD_MS = 1_000; // until the page that was here before has let go of its locks
const RETRY_MS = 500;
const PROOF_MS = 10_000; // a stranger may say nothing at all
const BUSY = 429;

const HERE = `127.0.0.1:${location.port}`;
const STRANGE = `Something else listens on ${HERE}, or the tokens are new. Open a new address: signalbox token --login`;

const plain = window.fetch.bind(window);
const encoded = (text) => new TextEncoder().encode(text);
let secret = "";
let proving = null;
let stranger = "";
let isPreloading = false;

/** Why nothing is sent: another program answers at the address; else empty. */
export const strange = () => stranger;

/**
 * All scripts ask through this, Datastar's as well, so that none can forget it: the server proves
 * first that it is ours, since after a crash anybody may listen on its port.
 */
window.fetch = async (address, options = {}) => {
  proving ??= prove().finally(() => (proving = null));
  const key = await proving;
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${key}`);
  refuseReader();
  return plain(address, { ...options, headers });
};

/** We have no service worker: a stranger's, from when the port was his, would read what is sent. */
function refuseReader() {
  if (!navigator.serviceWorker?.controller) return;
  stranger = STRANGE;
  throw new Error(stranger);
}

/** The key that opens this run of the server; what follows a crash cannot use it. */
async function prove() {
  refuseReader();
  const nonce = hexadecimal(crypto.getRandomValues(new Uint8Array(16)));
  stranger = "";
  const answer = await plain(`/hello?nonce=${nonce}`, { cache: "no-store", signal: AbortSignal.timeout(PROOF_MS) });
  if (answer.status === BUSY) throw new Error("The server is busy.");
  const { store, directory, run, proofs } = await answer.json().catch(() => ({}));
  const wanted = await mac(`signalbox hello\n${nonce}\n${HERE}\n${store}\n${directory}`);
  stranger = proofs?.window === wanted ? "" : STRANGE;
  if (stranger) throw new Error(stranger);
  return mac(`signalbox run\n${run}`);
}

/** HMAC with SHA-256 under the secret, hexadecimal. */
async function mac(text) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoded(secret), algorithm, false, ["sign"]);
  return hexadecimal(new Uint8Array(await crypto.subtle.sign("HMAC", key, encoded(text))));
}

const hexadecimal = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** The content of the page as HTML; null without access. */
export async function inside() {
  const given = new URLSearchParams(location.hash.slice(1));
  // Used up in a moment, and nothing for the history; a window's name stays in its address.
  if (given.has("code")) history.replaceState(null, "", given.has("window") ? `#${given.get("window")}` : location.pathname);
  const before = await pageBefore();
  for (const code of [given.get("code"), sessionStorage.getItem(KEPT)]) {
    const admitted = code && (await redeemed(code, before));
    if (admitted) return admitted;
  }
  return null;
}

/** Which page was in this tab before, whose window this one is; "" where a copy of the tab has it. */
async function pageBefore() {
  const page = sessionStorage.getItem(PAGE);
  return page && navigator.locks && (await hold(`page ${page}`)) ? page : "";
}

/** The lock that is held for as long as the page lives; whether it could be had. */
export function hold(name) {
  return new Promise((answer) => {
    const until = () => (answer(true), new Promise(() => {}));
    navigator.locks.request(name, { signal: AbortSignal.timeout(RELOAD_MS) }, until).catch(() => answer(false));
  });
}

async function redeemed(code, before) {
  const asked = redeem({ code, page: before });
  preload();
  const answer = await asked;
  if (!answer.ok) return null;
  const admission = await answer.json();
  secret = admission.secret;
  sessionStorage.setItem(KEPT, admission.again);
  return admission.page;
}

/** The answer to a code, once there is one: the server may be starting or busy just now. */
async function redeem(given) {
  for (;;) {
    const answer = await plain("/redeem", posted(given)).catch(() => ({ status: BUSY }));
    if (answer.status !== BUSY) return answer;
    await new Promise((go) => setTimeout(go, RETRY_MS));
  }
}

const posted = (given) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(given) });

// They come while the answer does, but not before it was asked for.
function preload() {
  if (isPreloading) return;
  isPreloading = true;
  for (const name of document.documentElement.dataset.modules.split(" ")) {
    const link = Object.assign(document.createElement("link"), { rel: "modulepreload", href: `/static/${name}.js` });
    document.head.append(link);
  }
}

/** What tells the server, when this page is loaded again or closed, which one it was; no secret. */
export function keep(page) {
  sessionStorage.setItem(PAGE, page);
  if (navigator.locks) hold(`page ${page}`);
  // Only then another window may have this one's id; a page that may come back says nothing.
  addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) plain("/goodbye", { ...posted({ page }), keepalive: true }).catch(() => {});
  });
}
