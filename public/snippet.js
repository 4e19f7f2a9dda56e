// The line for a terminal and the frame for a socket that do what was just done here.

import { announce } from "/notice.js";
import { byId, setText } from "/dom.js";
import { methodUrl, objectUrl, path, socketUrl } from "/path.js";

const FEEDBACK_MS = 1_500;

for (const button of document.querySelectorAll("#snippet .copy")) {
  button.addEventListener("click", () => copy(button, byId(button.dataset.copies)));
}

/** Without a protocol the object is not one to connect to. */
export function showRead(protocol) {
  const curl = `curl -H 'Accept: application/json' ${objectUrl(path)}`;
  show("Read this object", curl, protocol ? `new WebSocket("${socketUrl(path)}", ["${protocol}"])` : "");
}

export function showCall(type, payload) {
  const body = payload === undefined ? "" : ` -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(payload))}`;
  show(`Last call: ${type}`, `curl -X POST ${methodUrl(path, type)}${body}`, JSON.stringify({ type, id: 1, payload }));
}

export function showDelete() {
  show("Last call: DELETE", `curl -X DELETE ${objectUrl(path)}`, "");
}

function show(about, curl, socket) {
  setText(byId("snippet-about"), about);
  setText(byId("snippet-curl"), curl);
  setText(byId("snippet-socket"), socket);
  byId("snippet-socket").closest(".line").hidden = socket === "";
}

const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

async function copy(button, source) {
  const done = (await written(source.textContent)) || selectAndCopy(source);
  button.textContent = done ? "Copied" : "Selected";
  announce(done ? "Copied" : "Selected: copy it with the keyboard");
  setTimeout(() => (button.textContent = "Copy"), FEEDBACK_MS);
}

/** False where the browser keeps the clipboard to secure pages, or the user says no. */
const written = (text) =>
  navigator.clipboard?.writeText(text).then(() => true, () => false) ?? Promise.resolve(false);

function selectAndCopy(source) {
  getSelection().selectAllChildren(source);
  return document.execCommand("copy");
}
