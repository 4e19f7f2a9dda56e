// A coordinator: what its results come to, and the last of them.

import { bindConfirm } from "/confirm.js";
import { byId, setText } from "/dom.js";
import { moment, number, span } from "/format.js";
import { Refresh } from "/refresh.js";
import { TaskRows } from "/task-row.js";

const FIRST_SHOWN = 25;
const MORE = 75;
/** As many as one page of the coordinator has; who wants more asks it. */
const MOST_SHOWN = 1_000;

export function create({ call, log, request }) {
  const refresh = new Refresh(readLast);
  const rows = new TaskRows(byId("results"));
  let summary = { totalResults: 0 };
  let seen = "";
  let filter = {};
  let limit = FIRST_SHOWN;

  /** Only what has changed is read anew. */
  async function readLast() {
    const wanted = JSON.stringify([summary, filter, limit]);
    if (wanted === seen) return;
    try {
      const { items, cursor } = await request("getResults", { ...filter, order: "newest", limit });
      if (wanted === JSON.stringify([summary, filter, limit])) seen = wanted;
      rows.show(items, ({ taskId, timestamp, workerId }) => `${timestamp} ${workerId} ${taskId}`);
      byId("results-none").hidden = items.length > 0;
      byId("results-more").hidden = !cursor || limit >= MOST_SHOWN;
    } catch (error) {
      console.warn(error);
    }
  }

  function take(next) {
    if (next.totalResults > summary.totalResults) refresh.setRunning(true);
    summary = next;
    showSummary(summary);
  }

  bindConfirm(byId("clear"), "remove all results", async () => {
    await call("clear").then(() => log.add("event", "all results removed"), () => {});
    refresh.now();
  });
  byId("results-filter").addEventListener("change", () => {
    filter = filterOf(new FormData(byId("results-filter")));
    limit = FIRST_SHOWN;
    refresh.now();
  });
  byId("results-more").addEventListener("click", () => {
    limit = Math.min(limit + MORE, MOST_SHOWN);
    refresh.now();
  });
  const frames = {
    state: (state) => take(state.summary),
    change: ({ summary: changed }) => changed && take(changed),
  };
  const status = ({ state }) => refresh.setRunning(state === "live");
  return { frames, status, focus: () => byId("clear").focus() };
}

function filterOf(form) {
  const filter = {};
  const success = form.get("success");
  if (success) filter.success = success === "true";
  for (const name of ["workerId", "taskType"]) if (form.get(name).trim()) filter[name] = form.get(name).trim();
  return filter;
}

function showSummary({ totalResults, successCount = 0, failureCount = 0, averageDuration = 0, oldestResult, newestResult }) {
  const rate = totalResults > 0 ? `${((100 * successCount) / totalResults).toFixed(1).replace(".0", "")} %` : "–";
  setText(byId("results-total"), number(totalResults));
  setText(byId("results-good"), number(successCount));
  setText(byId("results-bad"), number(failureCount));
  setText(byId("results-rate"), rate);
  setText(byId("results-average"), totalResults > 0 ? span(averageDuration) : "–");
  const range = totalResults > 0 ? `from ${moment(oldestResult)} to ${moment(newestResult)}` : "";
  setText(byId("results-range"), range);
  byId("clear").hidden = totalResults === 0;
}
