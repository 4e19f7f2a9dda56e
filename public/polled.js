// Stands in for the socket of an object that must not be connected to by looking at it, such as a
// worker's connection: its sockets are the worker's. Its state is read, and its methods are called, over
// HTTP.

import { callOverHttp, readState } from "/read.js";
import { Refresh } from "/refresh.js";

const LOST = 1006;

/** As much of a `WebSocket` as the page uses. */
export class PolledSocket {
  onmessage = () => {};
  onclose = () => {};
  #path;
  #last = "";
  #refresh = new Refresh(() => this.#read());

  constructor(path) {
    this.#path = path;
    this.#refresh.setRunning(true);
  }

  async send(text) {
    const { type, id, payload } = JSON.parse(text);
    try {
      this.#deliver({ type: "result", id, payload: await callOverHttp(this.#path, type, JSON.stringify(payload ?? null)) });
    } catch ({ message: error, code }) {
      this.#deliver({ type: "error", id, payload: { error, code } });
    }
    this.#refresh.now();
  }

  close() {
    this.#refresh.setRunning(false);
  }

  async #read() {
    try {
      const payload = await readState(this.#path);
      const text = JSON.stringify(payload);
      if (text === this.#last) return;
      this.#last = text;
      this.#deliver({ type: "state", payload });
    } catch (error) {
      this.close();
      this.onclose({ code: LOST, reason: error.message });
    }
  }

  #deliver(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
}
