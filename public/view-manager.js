// A fleet-manager: its batches with their progress, their tasks, who works on them, and a box to submit
// some. Progress is pushed; the rest is read every two seconds while somebody looks.

import { isRunning } from "/batch-row.js";
import { BatchList } from "/batches.js";
import { byId, element, plural, setText, soon } from "/dom.js";
import { bindForm } from "/field.js";
import { number, span } from "/format.js";
import { announce } from "/notice.js";
import { path } from "/path.js";
import { callOverHttp, readState } from "/read.js";
import { Refresh } from "/refresh.js";
import { showCall } from "/snippet.js";
import { bindSubmit } from "/submit.js";
import { TaskList } from "/tasks.js";
import { WorkerList } from "/workers.js";

/** A longer call is not worth reading, let alone copying. */
const LONGEST_SNIPPET = 1_000;
/** Far below the smallest limit of a server, in characters. */
const LONGEST_MESSAGE = 50_000;
/** From here on, the figure is written smaller. */
const LONG = 999_999;
/** What a batch counts, the manager counts over all of them. */
const COUNTS = ["queuedTasks", "runningTasks", "retryingTasks", "completedTasks", "failedTasks"];

export function create({ attempt, call, fail, log, request }) {
  const batches = new BatchList({
    select,
    cancel,
    resubmit,
    read: (cursor, limit) => request("listBatches", { cursor, limit }),
  });
  const tasks = new TaskList({ read: (query) => request("listTasks", query), resubmit });
  const workers = new WorkerList({ read: (cursor, limit) => request("status", { cursor, limit }), more: () => refresh.now() });
  const refresh = new Refresh(read);
  const renderSoon = soon(render);
  let state = {};
  let stats = Object.fromEntries(COUNTS.map((count) => [count, 0]));
  let selected = "";

  function render() {
    if (selected && !batches.get(selected)) select(selected);
    batches.show();
    const todo = stats.queuedTasks + stats.runningTasks + stats.retryingTasks;
    setText(byId("todo"), number(todo));
    byId("todo").classList.toggle("long", todo > LONG);
    setText(byId("running"), number(stats.runningTasks));
    setText(byId("retrying"), number(stats.retryingTasks));
    setText(byId("completed"), number(stats.completedTasks));
    setText(byId("failed"), number(stats.failedTasks));
    if (batches.get(selected)) tasks.update(batches.get(selected));
  }

  async function read() {
    try {
      take(await readState(path));
      await Promise.all([tasks.read(), workers.read(state.workers, stats.connectedWorkers)]);
    } catch (error) {
      // The connection tells of what lasts.
      console.warn(error);
    }
  }

  function take(payload) {
    state = payload;
    stats = payload.stats;
    batches.replaceNewest(payload.batches, stats.totalBatches);
    showUnhandled(stats.unhandled ?? {});
    showConfig(payload.config);
    showLatency(stats.latency ?? {});
    renderSoon();
  }

  /** The figures run along, until they are read anew. */
  function takeProgress(batch) {
    const before = batches.merge(batch);
    if (before) for (const count of COUNTS) stats[count] = Math.max(0, stats[count] + batch[count] - before[count]);
    if (!isRunning(batch) && (!before || isRunning(before))) logEnd(batch);
    renderSoon();
  }

  function logEnd({ batchId, status, totalTasks, completedTasks, failedTasks }) {
    const lost = failedTasks > 0 ? `, ${number(failedTasks)} failed` : "";
    log.add("event", `${number(completedTasks)} of ${plural(totalTasks, "task")} done${lost}`, `${batchId} ${status}`);
  }

  function select(id) {
    selected = selected === id ? "" : id;
    if (selected) tasks.open(batches.get(selected));
    else tasks.close();
    batches.select(selected, tasks.element);
  }

  async function cancel(batchId) {
    const done = await call("cancelBatch", { batchId }).catch(() => undefined);
    if (done === false) fail(`${batchId} is over already`);
    if (done) announce(`${batchId} is cancelled`);
    refresh.now();
  }

  async function resubmit(batchId, taskIds) {
    const made = await call("resubmitFailed", taskIds ? { batchId, taskIds } : { batchId }).catch(() => undefined);
    if (!made) return;
    const text = `${plural(made.tasks, "task")} as ${made.batchId}`;
    log.add("event", text, "resubmitted");
    announce(`Resubmitted ${text}`);
    refresh.now();
  }

  async function submit(all) {
    const payload = { tasks: all };
    const text = JSON.stringify(payload);
    showCall("submitBatch", { tasks: text.length > LONGEST_SNIPPET ? all.slice(0, 1) : all });
    // A batch may be larger than a message of a socket.
    const isSmall = text.length < LONGEST_MESSAGE;
    const asked = isSmall ? request("submitBatch", payload) : callOverHttp(path, "submitBatch", text);
    const { batchId } = await attempt(asked);
    log.add("event", `${plural(all.length, "task")} as ${batchId}`, "submitted");
    refresh.now();
    return batchId;
  }

  async function scale() {
    const count = byId("scale-count").valueAsNumber;
    await call("scaleWorkers", { count: Number.isNaN(count) ? null : count });
    delete byId("scale-count").dataset.edited;
    refresh.now();
    return `${plural(count, "worker")} at once from now on`;
  }

  bindForm(byId("scale-form"), [byId("scale-count")], byId("scale-note"), scale);
  byId("scale-count").addEventListener("input", ({ target }) => (target.dataset.edited = ""));
  bindSubmit(submit);
  setText(byId("workers-path"), `${path}/NAME`);
  const takeWhole = (payload) => {
    const { totalBatches, queuedTasks, runningTasks } = payload.stats;
    const told = `${plural(totalBatches, "batch", "batches")}, ${number(queuedTasks)} tasks queued, ${number(runningTasks)} running`;
    log.add("event", `state received: ${told}`);
    take(payload);
  };
  const frames = { state: takeWhole, change: ({ config }) => config && showConfig(config), batch: takeProgress };
  const status = ({ state }) => refresh.setRunning(state === "live");
  return { frames, status, focus: () => byId("submit-count").focus() };
}

function showUnhandled(unhandled) {
  const types = Object.entries(unhandled).map(([type, count]) => `${plural(count, "task")} of type ${type}`);
  byId("unhandled").hidden = types.length === 0;
  setText(byId("unhandled"), `Nobody handles ${types.join(", ")}.`);
}

/** What somebody is writing is left alone. */
function showConfig({ maxConcurrentWorkers }) {
  const field = byId("scale-count");
  if (!("edited" in field.dataset)) field.value = maxConcurrentWorkers;
}

function showLatency(latency) {
  const types = Object.entries(latency);
  byId("latency-section").hidden = types.length === 0;
  const rows = types.map(([type, { p50, p95, p99 }]) => {
    const cells = [p50, p95, p99].map((ms) => element("td", {}, span(ms)));
    return element("tr", {}, element("th", { scope: "row" }, type), ...cells);
  });
  byId("latency").replaceChildren(...rows);
}
