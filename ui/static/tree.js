// The tree of prefixes: choosing one, folding, and walking with the arrow keys.

import { choose, find, toTop } from "./list.js";
import { $, setSignals, byId, onPatch } from "./signals.js";

const PAGE = 100; // children of a prefix listed at first; each "more" doubles them
const MAX_LISTED = 5_000; // as the server allows; beyond, the list itself shows them better
const MAX_OPEN = 200;

let currentId = "t:"; // the id of the node that the keyboard is on

const tree = () => byId("tree");
const nodes = () => [...tree().querySelectorAll(".node")];
const currentNode = () => byId(currentId) ?? byId(`t:${$.prefix}`) ?? nodes()[0];

/** Let the list show what is below `prefix`, all keys for "". */
export function scope(prefix, key = "") {
  currentId = `t:${prefix}`;
  setSignals({ view: "keys", prefix, from: 0, text: "" });
  byId("query").value = "";
  toTop();
  choose(key);
}

export function unfold(prefix, isOpen) {
  const others = $.open.filter(([open]) => open !== prefix);
  setSignals({ open: isOpen ? [...others, [prefix, PAGE]].slice(-MAX_OPEN) : others });
}

/** List more children of `prefix`. */
export function more(prefix) {
  const [, listed] = $.open.find(([open]) => open === prefix) ?? [prefix, PAGE];
  if (listed >= MAX_LISTED) return scope(prefix);
  const others = $.open.filter(([open]) => open !== prefix);
  setSignals({ open: [...others, [prefix, Math.min(MAX_LISTED, 2 * listed)]] });
}

/** What a click on `node`, or Enter, does. */
export function enter(node) {
  const { prefix, key } = node.dataset;
  if (node.classList.contains("more")) return more(prefix);
  if (prefix !== undefined) return scope(prefix, key);
  const parent = key.slice(0, key.lastIndexOf(".") + 1);
  if (parent !== $.prefix) scope(parent);
  currentId = node.id;
  setSignals({ view: "keys" });
  find(key);
}

function walk(node) {
  if (!node) return;
  currentId = node.id;
  show();
  node.scrollIntoView({ block: "nearest" });
  if (!node.classList.contains("more")) enter(node);
  currentId = node.id;
}

function right(node) {
  if (node.ariaExpanded === "false") unfold(node.dataset.prefix, true);
  else walk(nodes()[nodes().indexOf(node) + 1]);
}

function left(node) {
  if (node.ariaExpanded === "true" && node.dataset.prefix) return unfold(node.dataset.prefix, false);
  const level = Number(node.ariaLevel);
  walk(nodes().slice(0, nodes().indexOf(node)).findLast((each) => Number(each.ariaLevel) < level));
}

const KEYS = {
  ArrowDown: (node) => walk(nodes()[nodes().indexOf(node) + 1]),
  ArrowUp: (node) => walk(nodes()[nodes().indexOf(node) - 1]),
  Home: () => walk(nodes()[0]),
  End: () => walk(nodes().at(-1)),
  ArrowRight: right,
  ArrowLeft: left,
  Enter: (node) => (node.classList.contains("more") ? more(node.dataset.prefix) : byId("grid").focus()),
};

document.addEventListener("keydown", (event) => {
  if (event.target !== tree() || !KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key](currentNode());
});

function show() {
  const current = currentNode();
  for (const node of nodes()) node.classList.toggle("spot", node === current);
  tree().setAttribute("aria-activedescendant", current?.id ?? "");
}
onPatch(show);
