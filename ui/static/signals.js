// The signals of the page, and the state of the stream that keeps the page current.

import { strangerMessage } from "./access.js";
import { effect, mergePatch, root, startPeeking, stopPeeking } from "./datastar.js";

const QUIET_MS = 20_000; // the server sends a heartbeat at least every 15 s

export const $ = root;
export const CTRL = /Mac/.test(navigator.platform) ? "⌘" : "Ctrl ";
export const byId = (id) => document.getElementById(id);
/** The current time of the server in ms. */
export const now = () => Date.now() - $._skew;
export const openDialog = () => document.querySelector("dialog[open]");
const stream = byId("stream");
const listeners = [];
let lastMessageAt = performance.now();

mergePatch({
  // Parameters of the stream: a new value opens it anew (see #stream in the shell).
  actor: "", // who this window is, see identity.js
  view: "keys", // "keys", "activity", "sources" or "diff"
  prefix: "", // the part of the tree that the list shows
  text: "", // what is searched for: a glob, or text in key and value
  type: "", // a JSON type's name
  sort: "key", // or "changed"
  from: 0, // the list's first rendered row
  rows: 60, // and how many
  open: [], // the tree's unfolded prefixes: [prefix, children to list]
  key: "", // the inspected key
  find: "", // the key that the list is to show, wherever it stands
  hold: false, // Pause
  only: "", // Activity: "rejected" or all
  by: "", // Activity: one actor, "*" all, "" all but the built-in sources
  attempts: 100, // Activity: how many
  versions: 20, // the inspected key's history: how many
  before: 0, // and below which revision, 0 for now
  span: "1h", // of its chart: "15m", "1h", "1d" or "all"
  since: 0, // the comparison's moments as revisions, -1 for now
  until: -1,
  scope: "all", // and its keys: "key", "prefix" or "all"
  differences: 200, // how many of them
  behind: "", // and behind which key
  at: -1, // the revision that is shown, -1 for now
  moment: 0, // or the last one not later than this, in ms
  stretch: "1h", // what the time slider covers: "15m", "1h", "1d" or "all"
  again: 0, // counted up to open the stream anew
  // From the stream.
  _have: {}, // what each region shows, so that it is not sent twice
  _keys: -1, // all keys, the app's own left out
  _total: -1, // keys that match; -1 while counting
  _match: "**", // the filter as /queries/state takes it
  _search: "",
  _waiting: 0, // changes since Pause
  _held: -1, // how many changes there had been by then
  _pinned: -1, // the revision that a held picture shows
  _past: "", // the past moment that is shown, in words
  _pastAt: 0, // in ms
  _pastRevision: -1, // and as a revision
  _steps: [], // the changes around it: before and after, and those of the inspected key
  _lost: "", // the keys whose past is not kept so long
  _outcomes: "[]", // this window's last attempts, as JSON
  _rejected: [], // when the newest rejected attempts were, in ms
  _skew: 0, // so many ms the server's time is behind this computer's clock, where that has leapt
  _stale: false, // whether the log is away: what is shown is what was known then
  _sources: "",
  _node: "", // which of those that share the store
  _theme: document.documentElement.dataset.theme,
  // Of the page alone.
  _online: true,
  _isOut: false, // the server does not know this window's secret any more
  _stranger: "", // why nothing is sent to what answers instead of the server
  _news: "", // how many of them came since Activity was last open
  _form: "", // "create", "rename", "delete", "undo" or "restore" in the inspector's place
  _marked: 0, // selected rows
  _note: "", // why not all that was asked for is selected
  _saved: "All changes saved",
  _isRefused: false, // whether that says why something was not
});

/** Change signals, all at once; those that are `undefined` stay as they are. */
export function setSignals(changes) {
  mergePatch(changes);
}

/** Call `listener` after each patch of elements, before it is painted. */
export function onPatch(listener) {
  listeners.push(listener);
}

/** Call `act` with the value of `read` whenever that changes; signals that `act` reads do not count. */
export function onChange(read, act) {
  effect(() => {
    const value = read();
    startPeeking();
    try {
      act(value);
    } finally {
      stopPeeking();
    }
  });
}

let wasOnline = true;
onChange(() => $._online, (isOnline) => {
  if (isOnline !== wasOnline) announce(isOnline ? "Connected again" : "The server does not answer. Reconnecting…");
  wasOnline = isOnline;
});

export function announce(text) {
  byId("said").textContent = text;
}

document.addEventListener("datastar-fetch", ({ detail }) => {
  if (detail.el !== stream) return;
  if (detail.type === "retrying" || detail.type === "error") {
    setSignals({ _online: false, _isOut: detail.argsRaw.status === "401", _stranger: strangerMessage() });
  } else if (detail.type.startsWith("datastar-patch")) {
    lastMessageAt = performance.now();
    if (detail.type === "datastar-patch-elements") for (const listener of listeners) listener();
    else setSignals({ _online: true, _isOut: false, _stranger: "" });
  }
});

// A connection can break without an event, for example while the computer sleeps.
setInterval(() => {
  if (document.hidden) lastMessageAt = performance.now();
  if (performance.now() - lastMessageAt < QUIET_MS) return;
  lastMessageAt = performance.now();
  setSignals({ _online: false, again: $.again + 1 });
}, 1000);
