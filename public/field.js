// Forms. The server judges what was entered; its answer stands beside the fields until they are changed.

import { setText } from "/dom.js";
import { announce, clearError } from "/notice.js";

/**
 * `act()` resolves to what to say on success, or rejects with what was wrong, and with the `field` of
 * `fields` where that is not the first.
 */
export function bindForm(form, fields, note, act) {
  const say = (kind, text, wrong) => {
    note.dataset.kind = kind;
    setText(note, text);
    for (const field of fields) field.setAttribute("aria-invalid", String(field === wrong));
  };
  const hint = () => say("hint", note.dataset.hint ?? "");
  hint();
  form.addEventListener("input", () => {
    hint();
    clearError();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const done = await act();
      say("done", done);
      announce(done);
    } catch (error) {
      const wrong = error.field ?? fields[0];
      say("error", error.message, wrong);
      wrong.focus();
    }
  });
}

/** A form of one field, whose text is `act`'s and leaves the field when it is done. */
export function bindField(form, input, note, act) {
  bindForm(form, [input], note, async () => {
    const text = input.value;
    const done = await act(text);
    if (input.value === text) input.value = "";
    return done;
  });
}

/** What is wrong with one field of a form. */
export class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The JSON in a field; `null` where it is empty. */
export function readJson(field, what) {
  if (field.value.trim() === "") return null;
  try {
    return JSON.parse(field.value);
  } catch (error) {
    throw new Mistake(field, `${what} is not JSON: ${error.message}`);
  }
}
