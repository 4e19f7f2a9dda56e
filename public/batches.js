// The batches of a manager, newest first, each with its progress. There may be thousands: only the first
// few are in the document, and only these are written, at most once for every frame of the display.

import { BatchRow, isRunning } from "/batch-row.js";
import { arrange, byId, setText } from "/dom.js";
import { number } from "/format.js";

const FIRST_SHOWN = 10;
const MORE = 50;
/** Behind every id. */
const LAST = "~";

export class BatchList {
  #known = new Map();
  /** Ids that came or went since they were last put in order; and those whose batch has changed. */
  #ids = null;
  #changed = new Set();
  #rows = new Map();
  #views = new Map();
  #limit = FIRST_SHOWN;
  #cursor;
  #total = 0;
  /** Whether the oldest one is known: of those that there ever were, many may have been removed. */
  #complete = false;
  #selected = "";
  #actions;

  /** `actions` are `select`, `cancel` and `resubmit` of a batch, and `read(cursor, limit)`. */
  constructor(actions) {
    this.#actions = actions;
    byId("batches-more").addEventListener("click", () => this.#showMore());
  }

  get(id) {
    return this.#known.get(id);
  }

  /** The newest ones as the manager lists them: what is missing among them was removed. */
  replaceNewest(batches, total) {
    this.#total = total;
    const listed = new Set(batches.map(({ batchId }) => batchId));
    const oldest = batches.at(-1)?.batchId ?? "";
    const newest = batches[0]?.batchId ?? LAST;
    for (const id of this.#known.keys()) if (id >= oldest && id <= newest && !listed.has(id)) this.#forget(id);
    for (const batch of batches) this.merge(batch);
  }

  /** Takes what is new of a batch, and gives what was known before. */
  merge(batch) {
    const before = this.#known.get(batch.batchId);
    if (before && isOlder(batch, before)) return before;
    this.#known.set(batch.batchId, batch);
    this.#changed.add(batch.batchId);
    if (!before) this.#ids = null;
    return before;
  }

  #forget(id) {
    this.#known.delete(id);
    this.#ids = null;
  }

  /** Opens a batch, in which `part` is shown; "" opens none. */
  select(id, part) {
    for (const each of [this.#selected, id]) this.#changed.add(each);
    this.#selected = id;
    this.#ids = null;
    this.show();
    this.#rows.get(id)?.append(part);
  }

  show() {
    if (!this.#ids) this.#arrange();
    for (const id of this.#changed) this.#views.get(id)?.show(this.#known.get(id), id === this.#selected);
    this.#changed.clear();
    this.#showSummary();
  }

  /** Ids are in the order of submission. The batch that is open stays, however old it is. */
  #arrange() {
    this.#ids = [...this.#known.keys()].sort().reverse();
    const shown = this.#ids.filter((id, index) => index < this.#limit || id === this.#selected);
    arrange(byId("batches"), this.#rows, shown, (id) => this.#makeRow(id));
    for (const id of this.#views.keys()) if (!this.#rows.has(id)) this.#views.delete(id);
  }

  #makeRow(id) {
    const view = new BatchRow(id, this.#actions);
    this.#views.set(id, view);
    this.#changed.add(id);
    return view.element;
  }

  #showSummary() {
    const shown = this.#rows.size;
    const total = this.#complete ? this.#known.size : Math.max(this.#total, this.#known.size);
    setText(byId("batches-count"), total > 0 ? number(total) : "");
    byId("batches-none").hidden = total > 0;
    const rest = total - shown;
    byId("batches-more").hidden = rest <= 0;
    setText(byId("batches-more"), `Show ${Math.min(MORE, rest)} more of ${number(total)}`);
  }

  async #showMore() {
    this.#limit += MORE;
    while (this.#known.size < this.#limit && !this.#complete) {
      const { items, cursor } = await this.#actions.read(this.#cursor, MORE);
      for (const batch of items) this.merge(batch);
      this.#cursor = cursor;
      this.#complete = cursor === undefined;
    }
    this.#ids = null;
    this.show();
  }
}

/** What is read may have been overtaken by what is pushed; a batch never goes back. */
const isOlder = (batch, known) => ended(batch) < ended(known) || (!isRunning(known) && isRunning(batch));

const ended = ({ completedTasks, failedTasks }) => completedTasks + failedTasks;
