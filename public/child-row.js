// One child in the list: its link, a message to it, and its deletion.

import { bindConfirm } from "/confirm.js";
import { element } from "/dom.js";
import { bindField } from "/field.js";

/** `actions` are `send(name, message)` and `remove(name)`. */
export function childRow(name, path, actions) {
  const noteId = `note-${name}`;
  const input = element("input", {
    class: "message",
    autocomplete: "off",
    placeholder: "Message",
    "aria-label": `Message to ${name}`,
    "aria-describedby": noteId,
  });
  const send = element("button", { class: "send", "aria-label": `Send to ${name}` }, "Send");
  const remove = element("button", { class: "delete destructive", type: "button" }, "Delete");
  const note = element("p", { class: "note", id: noteId });
  const form = element("form", { class: "control", novalidate: "" }, input, send);
  const open = element("a", { class: "open", href: path }, name);
  bindField(form, input, note, (message) => actions.send(name, message));
  bindConfirm(remove, `delete ${name}`, () => actions.remove(name), " and everything below it");
  return element("li", { "data-name": name }, open, form, remove, note);
}
