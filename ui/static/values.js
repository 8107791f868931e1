// Values as text to edit and back, exactly: numbers keep every digit.

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
// A text field would lose or hide these, or turn the order of what is read around.
const UNTYPABLE = new RegExp(`[${document.body.dataset.hidden}]`, "u");
const EACH_UNTYPABLE = new RegExp(UNTYPABLE, "gu");
// A string of JSON, with the colon behind it where it is a name.
const STRINGS = /"(?:[^"\\]|\\.)*"(\s*:)?/g;

export function kindOf(raw) {
  if (raw === "") return "text";
  if (raw[0] === '"') return UNTYPABLE.test(JSON.parse(raw)) ? "JSON" : "text";
  if (raw[0] === "t" || raw[0] === "f") return "boolean";
  if (raw[0] === "n") return "null";
  return raw[0] === "{" || raw[0] === "[" ? "JSON" : "number";
}

/** What the field shows for `raw`. */
export function textOf(raw, kind) {
  if (raw === "") return "";
  if (kind === "text") return JSON.parse(raw);
  return kind === "JSON" ? formatted(raw) : raw;
}

/** The JSON text for the field's `text`, or what is wrong with it: `{raw}` or `{wrong}`. */
export function rawOf(text, kind) {
  if (kind === "text") return { raw: JSON.stringify(text) };
  const trimmed = text.trim();
  if (kind === "number" && !NUMBER.test(trimmed)) return { wrong: "This is no number." };
  try {
    JSON.parse(trimmed);
    return { raw: trimmed };
  } catch (error) {
    return { wrong: trimmed === "" ? "JSON is needed here." : `This is not JSON: ${whyNot(trimmed, error.message)}.` };
  }
}

/** Where a text stops being JSON: some browsers say the position, each in a message of its own. */
function whyNot(text, said) {
  const at = Number(/position (\d+)/.exec(said)?.[1] ?? NaN);
  if (/end of|unterminated/i.test(said) || at >= text.length) return "it ends where more is needed";
  if (at >= 0) return `its character ${at + 1}, ${String.fromCodePoint(text.codePointAt(at))}, is not allowed there`;
  return "names and texts stand in double quotes, with one comma between two members";
}

/** A new key's value as people type it: JSON where it parses, else text. */
export function guessed(text) {
  try {
    JSON.parse(text);
    return { raw: text.trim(), kind: kindOf(text.trim()) };
  } catch {
    return { raw: JSON.stringify(text), kind: "text" };
  }
}

/** A key as it is typed, in the form that keys have. */
export const named = (typed) => typed.trim().normalize("NFC");

/** `text` of one kind as the text of another. */
export function converted(text, from, to) {
  if (to === "null") return "null";
  if (to === "boolean") return ["true", "1", "on", "yes"].includes(text.trim().toLowerCase()) ? "true" : "false";
  if (to === "number") return NUMBER.test(text.trim()) ? text.trim() : "0";
  if (to === "JSON") {
    const { raw } = from === "text" ? guessed(text) : rawOf(text, from);
    return raw ? formatted(raw) : text;
  }
  return from === "JSON" && text.trim()[0] === '"' && rawOf(text, from).raw ? JSON.parse(text) : text;
}

export function formatted(raw) {
  return written(parsed(raw));
}

/** JSON with escapes for the characters that nobody would see. */
export function escaped(json) {
  return json.replace(EACH_UNTYPABLE, (sign) => sign.split("").map(escape).join(""));
}

const escape = (unit) => `\\u${unit.charCodeAt().toString(16).padStart(4, "0")}`;

const written = (value) => escaped(unmarked(JSON.stringify(value, null, 2)));
/** What `exactly` has read, as JSON text. */
export const compact = (value) => unmarked(JSON.stringify(value));

// JavaScript puts names that are numbers before all others. With a mark they stay where they were
// written; a name that has one already gets another.
const marked = (json) => json.replace(STRINGS, (text, colon) => (colon && /^"#*\d+"/.test(text) ? `"#${text.slice(1)}` : text));
const unmarked = (json) => json.replace(STRINGS, (text, colon) => (colon && /^"#+\d+"/.test(text) ? `"${text.slice(2)}` : text));
const plainName = (name) => name.replace(/^#(?=#*\d+$)/, "");

/** The number in `text` one step up or down in its last digit; `power` 1 is ten steps, -1 a tenth. */
export function stepped(text, direction, power) {
  const [, whole, digits = "", exponent = ""] = /^(-?\d+)(?:\.(\d+))?(e.*)?$/i.exec(text.trim());
  const places = Math.max(0, digits.length - Math.min(power, 0));
  const grown = BigInt(whole + digits) * 10n ** BigInt(places - digits.length);
  return decimal(grown + BigInt(direction) * 10n ** BigInt(Math.max(power, 0)), places) + exponent;
}

function decimal(mantissa, places) {
  const sign = mantissa < 0n ? "-" : "";
  const digits = String(mantissa < 0n ? -mantissa : mantissa).padStart(places + 1, "0");
  return sign + (places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits);
}

/** Three-way merge of JSON texts: `{text, clashes}`; where both changed the same, mine stays. */
export function merged(base, mine, theirs) {
  const clashes = [];
  const result = both(parsed(base), parsed(mine), parsed(theirs), "", clashes);
  return { text: written(result), clashes };
}

function both(base, mine, theirs, path, clashes) {
  if (same(mine, base)) return theirs;
  if (same(theirs, base) || same(mine, theirs)) return mine;
  if (!isMap(mine) || !isMap(theirs)) {
    clashes.push(path || "the whole value");
    return mine;
  }
  const names = new Set([...Object.keys(theirs), ...Object.keys(mine)]);
  const entries = [...names].map((name) => {
    const below = path ? `${path}.${plainName(name)}` : plainName(name);
    return [name, both(own(base, name), own(mine, name), own(theirs, name), below, clashes)];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

const own = (map, name) => (isMap(map) && Object.hasOwn(map, name) ? map[name] : undefined);
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const isObject = (value) => value !== null && typeof value === "object";
const isMap = (value) => isObject(value) && !Array.isArray(value) && !JSON.isRawJSON?.(value);
const parsed = (raw) => JSON.parse(marked(raw), exact);
/** JSON text as a value that `compact` writes with the same numbers, and names in the same order. */
export const exactly = parsed;

// A number that JavaScript would write differently is kept as it was written.
function exact(name, value, context) {
  if (typeof value !== "number" || !JSON.rawJSON || String(value) === context.source) return value;
  return JSON.rawJSON(context.source);
}
