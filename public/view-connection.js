// The connection of a worker that runs outside: whether it is there, what it is doing, what it did last,
// and messages to it.

import { byId, setText, showFacts, soon } from "/dom.js";
import { bindForm } from "/field.js";
import { ago, moment, number } from "/format.js";
import { showJson } from "/json.js";
import { segments } from "/path.js";
import { callOverHttp } from "/read.js";
import { Refresh } from "/refresh.js";
import { TaskRows } from "/task-row.js";

const name = segments.at(-1);
const parent = `/${segments.slice(0, -1).join("/")}`;

export function create({ call, log }) {
  const renderSoon = soon(() => showState({ ...known, ...state }, current, ended));
  const current = new TaskRows(byId("current-tasks"));
  const ended = new TaskRows(byId("history"));
  const asking = new Refresh(askManager);
  let state = { currentTasks: [], lastTasks: [] };
  let known = {};

  /** What the worker has told its manager, if it has one. */
  async function askManager() {
    try {
      const { workers } = await callOverHttp(parent, "status", "null");
      known = workers.find(({ id }) => id === name) ?? {};
      renderSoon();
    } catch {
      asking.setRunning(false);
    }
  }

  async function send() {
    const message = textOrJson(byId("send-message").value);
    const queue = byId("send-queue").checked;
    const { queued } = await call("send", queue ? { message, queue } : { message });
    byId("send-message").value = "";
    log.add("event", JSON.stringify(message), "sent");
    return queued ? "Kept until it connects" : "Sent";
  }

  for (const method of ["start", "stop"]) {
    byId(method).addEventListener("click", async () => {
      await call(method).then(() => log.add("event", method, "sent"), () => {});
    });
  }
  bindForm(byId("send-form"), [byId("send-message")], byId("send-note"), send);
  const frames = {
    state(payload) {
      if (payload.connected !== state.connected) log.add("event", payload.connected ? "connected" : "not connected");
      state = payload;
      renderSoon();
    },
  };
  const status = ({ state }) => asking.setRunning(state === "live");
  return { frames, status, focus: () => byId("send-message").focus() };
}

function showState(state, current, ended) {
  const { connected, lastTasks, metrics, metricsAt } = state;
  const currentTasks = state.currentTasks.map((taskId) => ({ taskId }));
  setText(byId("presence"), connected ? "Connected" : "Not connected");
  byId("presence").dataset.connected = String(Boolean(connected));
  showFacts(byId("presence-facts"), factsOf(state));
  setText(byId("current-count"), currentTasks.length > 0 ? number(currentTasks.length) : "");
  current.show(currentTasks, ({ taskId }) => taskId);
  byId("current-none").hidden = currentTasks.length > 0;
  ended.show(lastTasks, ({ taskId, timestamp }) => `${taskId} ${timestamp}`);
  byId("history-none").hidden = lastTasks.length > 0;
  byId("metrics-section").hidden = metrics === undefined || metrics === null;
  if (metrics) showJson(byId("metrics"), metrics, 40);
  setText(byId("metrics-at"), metricsAt ? ago(metricsAt) : "");
}

function factsOf({ sessions, capacity, types, lastConnectedAt, lastDisconnectedAt, queuedMessages }) {
  const facts = [["Sessions", number(sessions ?? 0)]];
  if (capacity !== undefined && capacity !== null) facts.push(["Capacity", number(capacity)]);
  if (types?.length > 0) facts.push(["Types", types.join(", ")]);
  if (queuedMessages > 0) facts.push(["Messages that wait", number(queuedMessages)]);
  if (lastConnectedAt) facts.push(["Connected last", moment(lastConnectedAt)]);
  if (lastDisconnectedAt) facts.push(["Disconnected last", moment(lastDisconnectedAt)]);
  return facts;
}

/** A message is any JSON; what is none is taken as text. */
function textOrJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
