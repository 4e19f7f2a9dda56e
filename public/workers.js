// Who works for a manager: workers that are connected, and attempts that run within the server.

import { arrange, byId, element, plural, setText } from "/dom.js";
import { number, span } from "/format.js";
import { childPath, isWithin, path } from "/path.js";

const FIRST_SHOWN = 12;
const MORE = 100;
/** So many are read at once, and all of them if there are no more. */
const PAGE = 500;

export class WorkerList {
  #rows = new Map();
  #facts = new Map();
  #shown = new Map();
  #limit = FIRST_SHOWN;
  #read;
  #isAll = true;

  /** `read(cursor, limit)` resolves to a page of the manager's `status`; `more()` has it read again, and shown. */
  constructor({ read, more }) {
    this.#read = read;
    byId("workers-more").addEventListener("click", () => {
      this.#limit += MORE;
      this.#render();
      if (!this.#isAll) more();
    });
  }

  /** Reads as many of the connected ones as are shown; `active` as the manager's state has them, one for each attempt. */
  async read(active, connectedCount) {
    const wanted = Math.max(PAGE, this.#limit);
    const connected = [];
    let cursor;
    do {
      const page = await this.#read(cursor, Math.min(PAGE, wanted - connected.length));
      connected.push(...page.workers);
      cursor = page.cursor;
    } while (cursor && connected.length < wanted);
    this.#show(connected, active, !cursor);
    setText(byId("workers-count"), connectedCount > 0 ? `${number(connectedCount)} connected` : "");
  }

  #show(connected, active, isAll) {
    const within = active.filter(({ id }) => isWithin(id)).map((worker) => [`${worker.id} ${worker.taskId}`, attempt(worker)]);
    // Those who work come first if all are known; else all come by name, so that more of them come behind.
    const listed = isAll ? [...connected].sort(byPresence) : connected;
    const rows = listed.map((worker) => [worker.id, { id: worker.id, doing: presence(worker) }]);
    this.#shown = new Map(isAll ? [...rows, ...within] : [...within, ...rows]);
    this.#isAll = isAll;
    this.#render();
  }

  #render() {
    const shown = new Map([...this.#shown].slice(0, this.#limit));
    arrange(byId("workers"), this.#rows, shown.keys(), (key) => this.#makeRow(key, shown.get(key)));
    for (const [key, { doing }] of shown) setText(this.#facts.get(key), doing);
    for (const key of this.#facts.keys()) if (!shown.has(key)) this.#facts.delete(key);
    const rest = this.#shown.size - shown.size;
    byId("workers-none").hidden = this.#shown.size > 0;
    byId("workers-more").hidden = rest <= 0 && this.#isAll;
    setText(byId("workers-more"), `Show ${this.#isAll ? Math.min(MORE, rest) : MORE} more`);
  }

  #makeRow(key, { id, name = id }) {
    const facts = element("span", { class: "label" });
    this.#facts.set(key, facts);
    return element("li", { "data-worker": id }, element("a", { href: childPath(path, id), title: id }, name), facts);
  }
}

const byPresence = (one, other) => Number(other.connected) - Number(one.connected) || one.id.localeCompare(other.id);

function presence({ connected, capacity, currentTasks, sessions }) {
  if (!connected) return "not connected";
  const more = sessions > 1 ? ` · ${plural(sessions, "session")}` : "";
  return `${number(currentTasks.length)} of ${plural(capacity, "task")}${more}`;
}

/** Nobody knows a worker within the server by its name: its task stands for it. */
const attempt = ({ id, taskId, spawnedAt }) => ({ id, name: taskId, doing: `in process · ${span(Date.now() - spawnedAt)}` });
