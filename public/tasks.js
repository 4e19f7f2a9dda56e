// The tasks of one batch that are in one state, a page at a time. They are read again while somebody
// looks and the batch is not over.

import { byId, setText } from "/dom.js";
import { number } from "/format.js";
import { TaskRows } from "/task-row.js";

const FIRST_SHOWN = 25;
const MORE = 75;
/** More rows than this are not shown at once: the next ones take their place. */
const MOST_SHOWN = 400;
/** The states in which a task can be, and what is said where none is. */
const NONE = {
  queued: "No task waits.",
  running: "No task runs now.",
  retrying: "No task waits for another attempt.",
  completed: "No task has completed yet.",
  failed: "No task has failed.",
};

export class TaskList {
  element = byId("tasks-section");
  // Found once: the part is in no document while the row that it was in is gone.
  #filter = byId("tasks-filter");
  #none = byId("tasks-none");
  #first = byId("tasks-first");
  #more = byId("tasks-more");
  #counts = Object.keys(NONE).map((state) => byId(`tasks-${state}`));
  #rows;
  #batch = null;
  #state = "";
  #chosen = false;
  #after;
  #next;
  #limit = FIRST_SHOWN;
  #turn = 0;
  #actions;

  /** `actions` are `read(query)` and `resubmit(batchId, taskIds)`. */
  constructor(actions) {
    this.#actions = actions;
    this.#rows = new TaskRows(byId("tasks"), (taskId) => actions.resubmit(this.#batch.batchId, [taskId]));
    this.#filter.addEventListener("change", ({ target }) => {
      this.#chosen = true;
      this.#begin(target.value);
    });
    this.#more.addEventListener("click", () => this.#showMore());
    this.#first.addEventListener("click", () => this.#begin(this.#state));
  }

  /** Shows the tasks of a batch: of those, what matters most, unless somebody has chosen. */
  open(batch) {
    this.#batch = batch;
    this.#rows.show([]);
    this.element.hidden = false;
    this.#begin(this.#chosen ? this.#state : mattersMost(batch));
  }

  close() {
    this.#batch = null;
    this.element.hidden = true;
  }

  /** The batch is known to be like this now. */
  update(batch) {
    this.#batch = batch;
    const { queuedTasks, runningTasks, retryingTasks, completedTasks, failedTasks } = batch;
    const counts = [queuedTasks, runningTasks, retryingTasks, completedTasks, failedTasks];
    for (const [index, count] of counts.entries()) setText(this.#counts[index], count > 0 ? number(count) : "");
  }

  /** Reads the page again; what is no longer wanted when it comes is not shown. */
  async read() {
    if (!this.#batch) return;
    const turn = ++this.#turn;
    const query = { batchId: this.#batch.batchId, state: this.#state, cursor: this.#after, limit: this.#limit };
    const { items, cursor } = await this.#actions.read(query);
    if (turn !== this.#turn) return;
    this.#next = cursor;
    this.#show(items);
  }

  #begin(state) {
    this.#state = state;
    this.#after = undefined;
    this.#limit = FIRST_SHOWN;
    for (const radio of this.#filter.querySelectorAll("input")) radio.checked = radio.value === state;
    this.update(this.#batch);
    this.read().catch(() => {});
  }

  #showMore() {
    if (this.#limit < MOST_SHOWN) this.#limit += MORE;
    else [this.#after, this.#limit] = [this.#next, FIRST_SHOWN];
    this.read().catch(() => {});
  }

  #show(tasks) {
    const { batchId } = this.#batch;
    const state = this.#state;
    this.#rows.show(tasks, ({ id, taskId = id }) => `${batchId} ${state} ${taskId}`, state === "failed");
    this.#none.hidden = tasks.length > 0 || this.#next !== undefined;
    setText(this.#none, NONE[state]);
    this.#first.hidden = this.#after === undefined;
    this.#more.hidden = !this.#next;
    setText(this.#more, this.#limit < MOST_SHOWN ? "Show more" : "Show the next ones");
  }
}

function mattersMost({ status, failedTasks }) {
  if (status === "pending") return "queued";
  if (status === "processing") return "running";
  return failedTasks > 0 ? "failed" : "completed";
}
