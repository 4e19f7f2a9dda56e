// Shows how the connection stands: the word in the header, and the panel of a closed object.

import { byId, setText } from "/dom.js";
import { clearError } from "/notice.js";

const CLOSED = {
  deleted: {
    title: "This object was deleted",
    reason: "Its state and everything below it are gone. Opening it anew starts from nothing.",
    action: "Open it anew",
  },
  refused: { title: "The server refused the connection", action: "Try again" },
};

export class StatusView {
  #ticker = 0;

  /** `reopen` connects at once, and serves every button here; `focus` goes to what comes next. */
  constructor(reopen, focus) {
    byId("reopen").addEventListener("click", () => {
      reopen();
      focus();
    });
    byId("retry").addEventListener("click", reopen);
  }

  show(status) {
    const word = byId("connection");
    setText(word, status.state);
    word.dataset.state = status.state;
    document.body.dataset.connection = status.state;
    this.#showRetry(status);
    this.#showClosed(status);
  }

  #showRetry({ state, retryAt }) {
    clearInterval(this.#ticker);
    const retry = byId("retry");
    if (state !== "reconnecting") {
      if (state === "live") retry.hidden = true;
      return;
    }
    const tick = () => {
      const left = Math.ceil((retryAt - Date.now()) / 1000);
      setText(retry, left > 0 ? `Retry now (${left} s)` : "Retry now");
    };
    tick();
    retry.hidden = false;
    this.#ticker = setInterval(tick, 1000);
  }

  #showClosed({ state, reason }) {
    const panel = CLOSED[state];
    const hadFocus = document.activeElement?.closest(".acts");
    byId("closed").hidden = !panel;
    for (const part of document.querySelectorAll(".acts")) part.inert = Boolean(panel);
    if (!panel) return;
    byId("retry").hidden = true;
    clearError();
    setText(byId("closed-title"), panel.title);
    setText(byId("closed-reason"), panel.reason ?? reason);
    setText(byId("reopen"), panel.action);
    if (hadFocus) byId("reopen").focus();
  }
}
