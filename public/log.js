// The log: what happened and what was said, newest first, with times. Only the last 500 are kept.

import { byId, element } from "/dom.js";

const KEPT = 500;
/** The document is written at most this often. A timer, for a background tab gets no frames. */
const WRITE_EVERY_MS = 50;
/** Counts that follow each other this closely are one line. */
const ONE_COUNT_MS = 1_000;
const LONGEST_TEXT = 2_000;

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const timeOf = (at) => clock.format(at);

/** A message may be any JSON: text as it is, anything else as JSON. */
export function messageText(message) {
  const text = typeof message === "string" ? message : JSON.stringify(message);
  if (text.length <= LONGEST_TEXT) return text;
  return `${text.slice(0, LONGEST_TEXT)}… (${text.length.toLocaleString("en")} characters)`;
}

export class Log {
  #list = byId("log");
  #waiting = [];
  #timer = 0;
  #count = null;

  constructor() {
    byId("log-clear").addEventListener("click", () => {
      this.#count = null;
      this.#list.replaceChildren();
    });
  }

  /** `kind` is one of event, message, error; `about` stands before the text, such as a sender. */
  add(kind, text, about = "") {
    this.#count = null;
    this.#push({ kind, text, about, at: new Date() });
  }

  addCount(from, to) {
    const now = new Date();
    if (this.#count && now - this.#count.at < ONE_COUNT_MS) {
      Object.assign(this.#count, { at: now, text: `${this.#count.from} → ${to}` });
      this.#count.line?.replaceChildren(...parts(this.#count));
      return;
    }
    this.#count = { kind: "event", about: "count", text: `${from} → ${to}`, from, at: now };
    this.#push(this.#count);
  }

  #push(entry) {
    this.#waiting.push(entry);
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    this.#timer ||= setTimeout(() => this.#write(), WRITE_EVERY_MS);
  }

  #write() {
    this.#timer = 0;
    for (const entry of this.#waiting.splice(0)) {
      entry.line = element("div", { class: `entry ${entry.kind}` }, ...parts(entry));
      this.#list.prepend(entry.line);
    }
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
  }
}

function parts({ at, about, text }) {
  const time = element("time", { datetime: at.toISOString() }, timeOf(at));
  const said = element("span", { class: "text" }, text);
  if (about) said.prepend(element("b", {}, about), " ");
  return [time, " ", said];
}
