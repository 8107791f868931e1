// Login: a one-time code in the address is exchanged for this window's secret, which authenticates
// every request. It is kept in memory alone: what a tab stores can be read by a program that gets the
// port after a crash, so that is a code which is invalid in another run of the server. A cookie would
// be sent to every port of this computer.

const STORED_CODE = "again";
const STORED_PAGE = "page"; // what the server calls the page that this tab shows
const RELOAD_MS = 1_000; // how long the previous page of this tab may take to release its locks
const RETRY_MS = 500;
const PROOF_MS = 10_000; // another program may not answer at all
const BUSY = 429;

const ADDRESS = `127.0.0.1:${location.port}`;
const STRANGER_MESSAGE = `Something else listens on ${ADDRESS}, or the tokens are new. Open a new address: signalbox token --login`;

const fetchDirectly = window.fetch.bind(window);
const encoded = (text) => new TextEncoder().encode(text);
let secret = "";
let verifying = null;
let stranger = "";
let isPreloading = false;

/** Why nothing is sent, where another program answers at the address; else empty. */
export const strangerMessage = () => stranger;

/**
 * All scripts send their requests by this, Datastar's as well, so that none can forget it: the server
 * proves first that it is ours, since after a crash any program may listen on its port.
 */
window.fetch = async (address, options = {}) => {
  verifying ??= verifyServer().finally(() => (verifying = null));
  const key = await verifying;
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${key}`);
  refuseServiceWorker();
  return fetchDirectly(address, { ...options, headers });
};

/** We have no service worker: one of a program that had the port before would read what is sent. */
function refuseServiceWorker() {
  if (!navigator.serviceWorker?.controller) return;
  stranger = STRANGER_MESSAGE;
  throw new Error(stranger);
}

/** Have the server prove that it is ours; the key that requests to this run of it are sent with. */
async function verifyServer() {
  refuseServiceWorker();
  const nonce = hexadecimal(crypto.getRandomValues(new Uint8Array(16)));
  stranger = "";
  const answer = await fetchDirectly(`/hello?nonce=${nonce}`, { cache: "no-store", signal: AbortSignal.timeout(PROOF_MS) });
  if (answer.status === BUSY) throw new Error("The server is busy.");
  const { store, directory, run, proofs } = await answer.json().catch(() => ({}));
  const expected = await mac(`signalbox hello\n${nonce}\n${ADDRESS}\n${store}\n${directory}`);
  stranger = proofs?.window === expected ? "" : STRANGER_MESSAGE;
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
export async function fetchPage() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  // The code is used up in a moment, and must not stay in the history; a window's name stays.
  if (parameters.has("code")) history.replaceState(null, "", parameters.has("window") ? `#${parameters.get("window")}` : location.pathname);
  const before = await previousPage();
  for (const code of [parameters.get("code"), sessionStorage.getItem(STORED_CODE)]) {
    const content = code && (await logIn(code, before));
    if (content) return content;
  }
  return null;
}

/** The id of the page that this tab showed before; "" where a copy of the tab still shows it. */
async function previousPage() {
  const page = sessionStorage.getItem(STORED_PAGE);
  return page && navigator.locks && (await holdLock(`page ${page}`)) ? page : "";
}

/** Hold a lock for as long as the page is open; whether it was free. */
export function holdLock(name) {
  return new Promise((answer) => {
    const until = () => (answer(true), new Promise(() => {}));
    navigator.locks.request(name, { signal: AbortSignal.timeout(RELOAD_MS) }, until).catch(() => answer(false));
  });
}

async function logIn(code, before) {
  const answering = redeem({ code, page: before });
  preload();
  const answer = await answering;
  if (!answer.ok) return null;
  const admission = await answer.json();
  secret = admission.secret;
  sessionStorage.setItem(STORED_CODE, admission.again);
  return admission.page;
}

/** The answer to a code, once there is one: the server may be starting or busy just now. */
async function redeem(redemption) {
  for (;;) {
    const answer = await fetchDirectly("/redeem", jsonRequest(redemption)).catch(() => ({ status: BUSY }));
    if (answer.status !== BUSY) return answer;
    await new Promise((go) => setTimeout(go, RETRY_MS));
  }
}

const jsonRequest = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// The scripts are fetched while the code is redeemed, but not before.
function preload() {
  if (isPreloading) return;
  isPreloading = true;
  for (const name of document.documentElement.dataset.modules.split(" ")) {
    const link = Object.assign(document.createElement("link"), { rel: "modulepreload", href: `/static/${name}.js` });
    document.head.append(link);
  }
}

/** Remember the page's id, by which the server knows it when it is loaded again or closed; no secret. */
export function rememberPage(page) {
  sessionStorage.setItem(STORED_PAGE, page);
  if (navigator.locks) holdLock(`page ${page}`);
  // Only then another window may have this one's id; a page that may come back says nothing.
  addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) fetchDirectly("/goodbye", { ...jsonRequest({ page }), keepalive: true }).catch(() => {});
  });
}
