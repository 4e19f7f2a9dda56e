// Who works for a manager: workers that are connected, and attempts that run within the server.

import { arrange, byId, element, plural, setText } from "/dom.js";
import { number, span } from "/format.js";
import { childPath, isWithin, path } from "/path.js";

const FIRST_SHOWN = 12;
const MORE = 100;

export class WorkerList {
  #rows = new Map();
  #facts = new Map();
  #shown = new Map();
  #limit = FIRST_SHOWN;

  constructor() {
    byId("workers-more").addEventListener("click", () => {
      this.#limit += MORE;
      this.#render();
    });
  }

  /** `connected` as the manager's `status` has them; `active` as its state does, one for each attempt. */
  show(connected, active) {
    const names = new Set(connected.map(({ id }) => id));
    const within = active.filter(({ id }) => !names.has(id));
    this.#shown = new Map([
      ...[...connected].sort(byPresence).map((worker) => [worker.id, { id: worker.id, doing: presence(worker) }]),
      ...within.map((worker) => [`${worker.id} ${worker.taskId}`, attempt(worker)]),
    ]);
    const here = connected.filter((worker) => worker.connected).length;
    setText(byId("workers-count"), here > 0 ? `${number(here)} connected` : "");
    this.#render();
  }

  #render() {
    const shown = new Map([...this.#shown].slice(0, this.#limit));
    arrange(byId("workers"), this.#rows, shown.keys(), (key) => this.#makeRow(key, shown.get(key)));
    for (const [key, { doing }] of shown) setText(this.#facts.get(key), doing);
    for (const key of this.#facts.keys()) if (!shown.has(key)) this.#facts.delete(key);
    const rest = this.#shown.size - shown.size;
    byId("workers-none").hidden = this.#shown.size > 0;
    byId("workers-more").hidden = rest <= 0;
    setText(byId("workers-more"), `Show ${Math.min(MORE, rest)} more`);
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
function attempt({ id, taskId, status, spawnedAt }) {
  if (!taskId) return { id, doing: "idle" };
  const facts = [status === "spawning" ? status : "", isWithin(id) ? "in process" : "", span(Date.now() - spawnedAt)];
  return { id, name: isWithin(id) ? taskId : id, doing: facts.filter(Boolean).join(" · ") };
}
