// A form of one text field. The server judges what was entered; its answer stands beside the field
// until the text is changed.

import { setText } from "/dom.js";
import { announce, clearError } from "/notice.js";

/** `act(text)` resolves to what to say on success, or rejects with what was wrong. */
export function bindField(form, input, note, act) {
  const say = (kind, text) => {
    note.dataset.kind = kind;
    setText(note, text);
    input.setAttribute("aria-invalid", String(kind === "error"));
  };
  const hint = () => say("hint", note.dataset.hint ?? "");
  hint();
  input.addEventListener("input", () => {
    hint();
    clearError();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value;
    try {
      const done = await act(text);
      if (input.value === text) input.value = "";
      say("done", done);
      announce(done);
    } catch (error) {
      say("error", error.message);
      input.focus();
    }
  });
}
