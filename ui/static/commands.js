// Sends commands and awaits their outcomes, which arrive by the stream; retries with the same id.

import { $, byId, onChange, announce } from "./signals.js";
import { exactly } from "./values.js";

const RETRY_MS = 700;
const INQUIRE_AFTER_MS = 2_500;
const GIVE_UP_MS = 60_000;
export const BATCH = 1_000; // the server's limit

const pending = new Map(); // command id -> { body, settle, since, timer }
let rejection = null; // this window's last outcome, where that was no acceptance
const listeners = [];

/**
 * Send one command; `raw` is its value as JSON text, so that numbers stay exact. Resolves to the
 * outcome `{status: "accepted" | "rejected" | "failed", code?, message?, revision?, changes?, kept?}`;
 * `kept` where Activity lists it.
 */
export function send(command, raw) {
  const id = crypto.randomUUID();
  const body = encoded({ id, actor: $.actor, ...command }, raw);
  const promise = new Promise((settle) => {
    pending.set(id, { command, body, settle, since: performance.now(), timer: 0 });
  });
  pending.get(id).promise = promise;
  showStatus();
  post(id);
  return promise;
}

/** What `command` would do: `{status, changes?, code?, message?, effects?}`. Changes nothing. */
export async function preview(command) {
  const body = encoded({ actor: $.actor, dry_run: true, ...command });
  try {
    return exactly(await (await request(body, {})).text());
  } catch {
    return { status: "failed", message: "The server does not answer." };
  }
}

/** Send it only if a dry run is accepted, so that no rejection is recorded. */
export async function sendIfAccepted(command) {
  const outcome = await preview(command);
  if (outcome.status !== "accepted") return outcome;
  const sent = await send(command);
  // Another command was first. Outcomes on the stream have no effects.
  return sent.code === "conflict" ? { ...sent, effects: (await preview(command)).effects } : sent;
}

/** Call `listener(command, outcome)` for each command of this window. */
export function onSettled(listener) {
  listeners.push(listener);
}

/** Resolves once all commands that were sent so far have their outcomes. */
export function idle() {
  return Promise.all([...pending.values()].map((entry) => entry.promise));
}

/** The outcome as one line: empty where it was accepted. */
export function reason(outcome) {
  if (outcome.status === "accepted") return "";
  return outcome.code ? `${outcome.code}: ${outcome.message}` : outcome.message;
}

/** The same in a few words, where space is short; the status line links to the whole reason. */
export function brief(outcome) {
  if (outcome.status === "accepted") return "";
  return outcome.code === "conflict" ? "Changed, press again" : `Rejected: ${outcome.code ?? "no answer"}`;
}

async function post(id) {
  const entry = pending.get(id);
  if (!entry) return;
  if (performance.now() - entry.since > GIVE_UP_MS) {
    const message = "No answer within a minute; Activity will tell whether it was done.";
    return settle(id, { status: "failed", message });
  }
  try {
    const answer = await request(entry.body, { "Datastar-Request": "true" });
    if (answer.status !== 204) return settle(id, await refusal(answer));
    entry.timer = setTimeout(inquire, INQUIRE_AFTER_MS, id);
  } catch {
    entry.timer = setTimeout(post, RETRY_MS, id);
  }
}

// The outcome has not arrived, as where the stream is closed while the window is hidden.
async function inquire(id) {
  try {
    const answer = await fetch(`/queries/attempts/${id}`);
    if (answer.ok) return settle(id, { ...(await answer.json()), kept: true });
  } catch {
    // The server is away; sending again will wait for it.
  }
  post(id);
}

function request(body, headers) {
  const all = { "Content-Type": "application/json", ...headers };
  return fetch("/commands", { method: "POST", headers: all, body });
}

async function refusal(answer) {
  const body = await answer.json().catch(() => ({}));
  const { code = String(answer.status), message = "The server refused it." } = body;
  return { status: "rejected", code, message };
}

function encoded(command, raw) {
  const text = JSON.stringify(command);
  return raw === undefined ? text : `${text.slice(0, -1)},"value":${raw}}`;
}

function settle(id, outcome) {
  const entry = pending.get(id);
  if (!entry) return;
  if (outcome.status === "unknown") {
    // The final outcome comes later, under the same id: the engine has not answered the server.
    clearTimeout(entry.timer);
    entry.timer = setTimeout(inquire, INQUIRE_AFTER_MS, id);
    return;
  }
  pending.delete(id);
  clearTimeout(entry.timer);
  rejection = outcome.status === "accepted" ? null : outcome;
  showStatus();
  if (outcome.status !== "accepted") announce(`Rejected. ${reason(outcome)}`);
  entry.settle(outcome);
  for (const listener of listeners) listener(entry.command, { id, ...outcome });
}

// The status line's right end.
function showStatus() {
  const count = pending.size;
  const what = count === 1 ? "1 change" : `${count} changes`;
  byId("saved").parentElement.classList.toggle("waits", count > 0 || !$._online);
  $._isRefused = Boolean(rejection) && $._online && count === 0;
  if ($._stranger) $._saved = $._stranger;
  else if ($._isOut) $._saved = "Open a new address: signalbox token --login";
  else if (!$._online) $._saved = count ? `${what} waiting for the server` : "Reconnecting…";
  else if (count) $._saved = `Saving ${what}…`;
  else if (rejection) $._saved = whyNot(rejection);
  else $._saved = $._stale ? "Changes cannot be saved now" : "All changes saved";
}

// A rejection that Activity does not list, as while the log is away, is shown with its reason.
function whyNot({ status, kept, message }) {
  if (kept) return "Rejected, see Activity";
  return status === "rejected" ? `Not saved: ${message}` : message;
}

onChange(() => $._outcomes, (text) => {
  for (const outcome of JSON.parse(text)) settle(outcome.id, outcome);
});
onChange(() => [$._isOut, $._stranger, $._stale].join(), showStatus);
onChange(() => $._online, (online) => {
  showStatus();
  if (online) for (const id of [...pending.keys()]) restart(id);
});

function restart(id) {
  clearTimeout(pending.get(id).timer);
  post(id);
}
