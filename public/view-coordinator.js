// A coordinator: what its results come to, and the last of them.

import { bindConfirm } from "/confirm.js";
import { byId, setText } from "/dom.js";
import { moment, number, span } from "/format.js";
import { Refresh } from "/refresh.js";
import { TaskRows } from "/task-row.js";

const SHOWN = 25;
/** A page of results at most; they come oldest first. */
const PAGE = 500;
/** How far back it is looked for the last ones, from the newest: further until there are enough. */
const WINDOWS_MS = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, Infinity];

export function create({ call, log, request }) {
  const refresh = new Refresh(readLast);
  const rows = new TaskRows(byId("results"));
  let summary = { totalResults: 0 };
  let seen = "";
  let filter = {};

  /** Only what has changed is read anew. */
  async function readLast() {
    const wanted = JSON.stringify([summary, filter]);
    if (wanted === seen) return;
    try {
      const results = await lastResults(summary, filter, request);
      if (wanted === JSON.stringify([summary, filter])) seen = wanted;
      rows.show(results, ({ taskId, timestamp, workerId }) => `${timestamp} ${workerId} ${taskId}`);
      byId("results-none").hidden = results.length > 0;
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
    refresh.now();
  });
  const frames = {
    state: (state) => take(state.summary),
    change: ({ summary: changed }) => changed && take(changed),
  };
  const status = ({ state }) => refresh.setRunning(state === "live");
  return { frames, status, focus: () => byId("clear").focus() };
}

/** The newest first. */
async function lastResults({ totalResults, oldestResult, newestResult }, filter, request) {
  if (totalResults === 0) return [];
  for (const window of WINDOWS_MS) {
    const since = Math.max(oldestResult, newestResult - window);
    const items = await resultsSince({ ...filter, since }, request);
    if (items.length >= SHOWN || since === oldestResult) return items.slice(-SHOWN).reverse();
  }
  return [];
}

async function resultsSince(query, request) {
  const { items } = await request("getResults", { ...query, limit: PAGE });
  return items;
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
