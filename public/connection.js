// The socket of one object: opens it, opens it again with growing delays when it is lost, and matches
// each answer to its request.
//
// A status is `{state, reason?, retryAt?}`, where state is one of
//   connecting    a socket is on its way, its first state frame has not come
//   live          what is shown is what the server has; `silent` where its class tells no state
//   reconnecting  lost; the next attempt is at `retryAt`, and under way from then on
//   deleted       the object was deleted; only `open()` goes on
//   refused       the server does not let us in; only `open()` goes on

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
/** A connection that lived this long was a good one: the delays start over. */
const STABLE_MS = 5_000;
/** A class that has told no state for this long after the opening tells none. */
const SILENT_MS = 1_000;
const DELETED = { code: 1000, reason: "Agent deleted" };
const REFUSALS = new Map([
  [4401, "The server asks for a token that this page did not give."],
  [4403, "The server does not allow this."],
]);

export class RequestError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export class Connection {
  #dial;
  #onStatus;
  #onFrame;
  #socket = null;
  #state = "connecting";
  #liveSince = 0;
  #failures = 0;
  #timer = 0;
  #attempt = 0;
  #lastId = 0;
  #pending = new Map();

  /** `dial()` resolves to a new socket. */
  constructor(dial, { onStatus, onFrame }) {
    this.#dial = dial;
    this.#onStatus = onStatus;
    this.#onFrame = onFrame;
    addEventListener("online", () => this.#hasten());
    document.addEventListener("visibilitychange", () => this.#hasten());
  }

  /** Connects now, whatever the state; a socket that was open before is let go. */
  open() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
    if (this.#state !== "reconnecting") this.#become({ state: "connecting" });
    const attempt = ++this.#attempt;
    const isOurs = () => attempt === this.#attempt;
    this.#dial().then(
      (socket) => (isOurs() ? this.#listen(socket) : socket.close()),
      (error) => isOurs() && this.#retryLater(error.message),
    );
  }

  /** Resolves to the result's payload; rejects with a `RequestError`. */
  request(type, payload) {
    if (this.#state !== "live") {
      return Promise.reject(new RequestError("Not connected to the server", "not_connected"));
    }
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ type, id, payload }));
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  /** The object was deleted by somebody who was told so by other means. */
  deleted() {
    if (this.#state === "deleted") return;
    this.#socket?.close();
    this.#closed(DELETED);
  }

  #listen(socket) {
    this.#socket = socket;
    const isOurs = () => socket === this.#socket;
    socket.onopen = () => setTimeout(() => isOurs() && this.#beLive(true), SILENT_MS);
    socket.onmessage = ({ data }) => isOurs() && this.#receive(data);
    socket.onclose = (event) => isOurs() && this.#closed(event);
  }

  #become(status) {
    this.#state = status.state;
    if (status.state === "live") this.#liveSince = Date.now();
    this.#onStatus(status);
  }

  #beLive(silent) {
    if (this.#state !== "live") this.#become({ state: "live", silent });
  }

  #receive(data) {
    const frame = parsed(data);
    if (this.#answer(frame)) return;
    this.#onFrame(frame);
    if (frame.type === "state") this.#beLive(false);
  }

  #answer({ type, id, payload }) {
    const asked = this.#pending.get(id);
    if (!asked) return false;
    this.#pending.delete(id);
    if (type === "error") asked.reject(new RequestError(payload.error, payload.code));
    else asked.resolve(payload);
    return true;
  }

  #closed({ code, reason }) {
    const wasLive = this.#state === "live";
    this.#socket = null;
    this.#abandonRequests();
    if (code === DELETED.code && reason === DELETED.reason) {
      this.#become({ state: "deleted", reason });
    } else if (REFUSALS.has(code)) {
      this.#become({ state: "refused", reason: reason || REFUSALS.get(code) });
    } else {
      if (wasLive && Date.now() - this.#liveSince > STABLE_MS) this.#failures = 0;
      this.#retryLater(reason ? `${reason} (${code})` : `connection lost (${code})`);
    }
  }

  #abandonRequests() {
    const lost = new RequestError(
      "The connection was lost before the answer: it may or may not have been done",
      "connection_lost",
    );
    for (const { reject } of this.#pending.values()) reject(lost);
    this.#pending.clear();
  }

  #retryLater(reason) {
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
    const delay = ceiling * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.open(), delay);
    this.#become({ state: "reconnecting", reason, retryAt: Date.now() + delay });
  }

  /** Somebody looks at the page again, or the network is back: do not sit out the delay. */
  #hasten() {
    if (this.#state === "reconnecting" && document.visibilityState === "visible") this.open();
  }
}

/** What a class sends of its own need not be a frame, nor even text. */
function parsed(data) {
  if (typeof data !== "string") return { payload: `${data.size} bytes` };
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : { payload: frame };
  } catch {
    return { payload: data };
  }
}
