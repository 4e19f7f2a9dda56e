// Tasks in lists: what each is, how it stands, what went wrong, and, when opened, all of it as JSON.

import { arrange, element, plural, setText } from "/dom.js";
import { moment, span } from "/format.js";
import { showJson } from "/json.js";
import { isWithin } from "/path.js";

/** The rows of one list. */
export class TaskRows {
  #list;
  #rows = new Map();
  #views = new Map();
  #resubmit;

  /** With `resubmit(taskId)` each failed task can be done again. */
  constructor(list, resubmit) {
    this.#list = list;
    this.#resubmit = resubmit;
  }

  /** `keyOf(task)` tells tasks apart: what is opened stays open. Some lists are of `failed` tasks. */
  show(tasks, keyOf, failed = false) {
    const shown = new Map(tasks.map((task) => [keyOf(task), task]));
    arrange(this.#list, this.#rows, shown.keys(), (key) => this.#make(key, shown.get(key)));
    for (const key of this.#views.keys()) if (!shown.has(key)) this.#views.delete(key);
    for (const [key, task] of shown) this.#views.get(key).show(task, failed);
  }

  #make(key, task) {
    const view = new TaskRow(task.taskId ?? task.id, this.#resubmit);
    this.#views.set(key, view);
    return view.element;
  }
}

class TaskRow {
  element;
  #task = null;
  #canResubmit;
  #parts;

  constructor(id, resubmit) {
    this.#canResubmit = resubmit !== undefined;
    const parts = {
      toggle: element("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-label": `Details of ${id}` }),
      type: element("span", { class: "label" }),
      facts: element("span", { class: "label facts" }),
      resubmit: element("button", { type: "button", class: "quiet", "aria-label": `Resubmit ${id}` }, "Resubmit"),
      error: element("p", { class: "error" }),
      detail: element("pre", { class: "json", tabindex: "0", role: "group", "aria-label": `${id} as JSON`, hidden: "" }),
    };
    const name = element("span", { class: "id" }, id);
    const line = element("div", { class: "line" }, parts.toggle, name, parts.type, parts.facts, parts.resubmit);
    this.element = element("li", { "data-task": id }, line, parts.error, parts.detail);
    this.#parts = parts;
    parts.resubmit.hidden = true;
    parts.resubmit.addEventListener("click", () => resubmit(id));
    parts.toggle.addEventListener("click", () => this.#toggle());
  }

  show(task, failed) {
    const { type, facts, resubmit, error, detail } = this.#parts;
    this.#task = task;
    setText(type, task.type ?? task.taskType ?? "");
    setText(facts, factsOf(task).filter(Boolean).join(" · "));
    setText(error, task.error ?? (task.success === false ? "failed" : ""));
    error.hidden = error.textContent === "";
    resubmit.hidden = !failed || !this.#canResubmit;
    if (!detail.hidden) showJson(detail, task);
  }

  #toggle() {
    const { toggle, detail, error } = this.#parts;
    detail.hidden = !detail.hidden;
    toggle.setAttribute("aria-expanded", String(!detail.hidden));
    error.classList.toggle("whole", !detail.hidden);
    if (!detail.hidden) showJson(detail, this.#task);
  }
}

function factsOf({ unhandled, priority, attempt, attempts, due, progress, workerId, duration, startedAt, timestamp }) {
  const ended = duration !== undefined;
  return [
    unhandled ? "nobody handles this type" : "",
    priority ? `priority ${priority}` : "",
    (attempt ?? 0) > 1 && !ended ? `attempt ${attempt}` : "",
    (attempts ?? 0) > 1 || due ? plural(attempts, "attempt") : "",
    due ? `again in ${span(Math.max(0, due - Date.now()))}` : "",
    progressOf(progress),
    workerId && !isWithin(workerId) ? `${ended ? "by" : "on"} ${workerId}` : "",
    ended ? span(duration) : "",
    startedAt && !ended ? `for ${span(Date.now() - startedAt)}` : "",
    timestamp ? moment(timestamp) : "",
  ];
}

/** A worker may say what it likes; a share of 1 is told as one. */
function progressOf(progress) {
  if (typeof progress === "number" && progress >= 0 && progress <= 1) return `${Math.round(progress * 100)} %`;
  return typeof progress === "string" || typeof progress === "number" ? String(progress).slice(0, 40) : "";
}
