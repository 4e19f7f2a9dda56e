// Reads something again every two seconds, for as long as it matters and somebody can see it.

const REFRESH_MS = 2_000;
/** A slow answer is asked for more rarely: reading takes at most this part of the time. */
const BUSY_SHARE = 10;

export class Refresh {
  #read;
  #timer = 0;
  #running = false;
  #reading = false;
  #again = false;

  /** `read()` resolves, whatever comes of it. */
  constructor(read) {
    this.#read = read;
    document.addEventListener("visibilitychange", () => this.#schedule(0));
  }

  setRunning(running) {
    if (running === this.#running) return;
    this.#running = running;
    this.#schedule(0);
  }

  /** Reads now; to be called where a person waits for it. */
  now() {
    this.#schedule(0);
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    this.#again = this.#reading;
    if (!this.#running || this.#reading || document.visibilityState !== "visible") return;
    this.#timer = setTimeout(() => this.#turn(), delay);
  }

  async #turn() {
    const started = performance.now();
    this.#reading = true;
    await this.#read();
    this.#reading = false;
    if (this.#again) this.#schedule(0);
    else this.#schedule(Math.max(REFRESH_MS, (performance.now() - started) * BUSY_SHARE));
  }
}
