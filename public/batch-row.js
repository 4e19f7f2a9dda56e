// One batch: its name, how far it is, and what can be done with it.

import { bindConfirm } from "/confirm.js";
import { element, plural, setText } from "/dom.js";
import { moment, number, span } from "/format.js";

const RUNNING = new Set(["pending", "processing"]);

export const isRunning = ({ status }) => RUNNING.has(status);

export class BatchRow {
  element;
  #parts;

  constructor(id, { select, cancel, resubmit }) {
    const parts = {
      name: element("button", { type: "button", class: "name", "aria-expanded": "false" }, ...partsOf(id)),
      status: element("span", { class: "status" }),
      bar: element("div", { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }),
      done: element("span", { class: "done" }),
      failed: element("span", { class: "lost" }),
      facts: element("p", { class: "label facts" }),
      resubmit: element("button", { type: "button", class: "quiet resubmit" }, "Resubmit failed"),
      cancel: element("button", { type: "button", class: "quiet destructive cancel" }, "Cancel"),
    };
    parts.bar.setAttribute("aria-label", `Progress of ${id}`);
    parts.resubmit.setAttribute("aria-label", `Resubmit failed tasks of ${id}`);
    parts.bar.append(parts.done, parts.failed);
    parts.name.addEventListener("click", () => select(id));
    parts.resubmit.addEventListener("click", () => resubmit(id));
    bindConfirm(parts.cancel, `cancel ${id}`, () => cancel(id));
    const acts = element("div", { class: "acts-of" }, parts.resubmit, parts.cancel);
    this.element = element("li", { "data-batch": id }, parts.name, parts.status, parts.bar, parts.facts, acts);
    this.#parts = parts;
  }

  show(batch, selected) {
    const { name, status, bar, done, failed, facts, resubmit, cancel } = this.#parts;
    const { totalTasks, completedTasks, failedTasks } = batch;
    name.setAttribute("aria-expanded", String(selected));
    setText(status, batch.status);
    this.element.dataset.status = batch.status;
    const part = (tasks) => tasks / Math.max(1, totalTasks);
    done.style.transform = `scaleX(${part(completedTasks)})`;
    failed.style.transform = `translateX(${100 * part(completedTasks)}%) scaleX(${part(failedTasks)})`;
    bar.setAttribute("aria-valuenow", Math.floor((100 * (completedTasks + failedTasks)) / Math.max(1, totalTasks)));
    setText(facts, factsOf(batch));
    resubmit.hidden = failedTasks === 0;
    cancel.hidden = !isRunning(batch);
  }
}

/** What differs between ids stands out: the number, between the zeros before it and what is random. */
function partsOf(id) {
  const { zeros, digits, rest } = /^(?<zeros>0{0,9})(?<digits>.*?)(?<rest>.{0,16})$/s.exec(id).groups;
  return [zeros, element("span", { class: "number" }, digits), rest];
}

function factsOf({ totalTasks, completedTasks, failedTasks, submittedAt, endedAt }) {
  const facts = [`${number(completedTasks + failedTasks)} of ${plural(totalTasks, "task")}`];
  if (failedTasks > 0) facts.push(`${number(failedTasks)} failed`);
  facts.push(endedAt ? `took ${span(endedAt - submittedAt)}` : `since ${moment(submittedAt)}`);
  return facts.join(" · ");
}
