// Values as JSON that a person can read: what fits into a line stands in one.

import { element } from "/dom.js";

const WIDE = 64;
/** Longer texts are shown without colours, and cut. */
const COLOURED = 20_000;
const LONGEST = 200_000;
const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;

/** What stands where, so that what is the same again is left alone, with what is selected in it. */
const shown = new WeakMap();

export function readable(value, width = WIDE, indent = "") {
  const line = JSON.stringify(value);
  if (value === null || typeof value !== "object") return line;
  if (indent.length + line.length <= width) return spaced(value);
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((item) => readable(item, width, inner))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${readable(item, width, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}

/** On one line, with room after commas and colons. */
function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const parts = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`);
  return parts.length > 0 ? `{ ${parts.join(", ")} }` : "{}";
}

/** Shows a value in a `<pre>`, or in what else keeps white space. */
export function showJson(target, value, width = WIDE) {
  const text = readable(value, width) ?? "";
  if (shown.get(target) === text) return;
  shown.set(target, text);
  const rest = text.length - LONGEST;
  if (rest > 0) target.textContent = `${text.slice(0, LONGEST)}\n… ${rest.toLocaleString("en")} more characters`;
  else target.replaceChildren(...(text.length <= COLOURED ? coloured(text) : [text]));
}

function coloured(text) {
  const parts = [];
  let at = 0;
  for (const { 0: token, 1: string, 2: colon = "", index } of text.matchAll(TOKENS)) {
    const kind = colon ? "key" : string ? "string" : "literal";
    parts.push(text.slice(at, index), element("span", { class: kind }, string ?? token), colon);
    at = index + token.length;
  }
  return [...parts, text.slice(at)];
}
