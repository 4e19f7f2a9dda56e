// What is said outside the log: the last error in a bar that stays until it is dismissed or something
// succeeds, and short confirmations for screen readers.

import { byId, setText } from "/dom.js";

byId("error-dismiss").addEventListener("click", clearError);

export function showError(text) {
  byId("error").textContent = text;
  byId("error-bar").classList.add("shown");
  byId("error-dismiss").hidden = false;
}

export function clearError() {
  setText(byId("error"), "");
  byId("error-bar").classList.remove("shown");
  byId("error-dismiss").hidden = true;
}

export const announce = (text) => setText(byId("announcer"), text);
