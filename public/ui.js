// Wires the page: frames of the connection go to the state and the log, the state to what shows it,
// and what is pressed to the connection.

import { showBreadcrumb } from "/breadcrumb.js";
import { ChildList } from "/children.js";
import { bindConfirm } from "/confirm.js";
import { Connection } from "/connection.js";
import { showCount } from "/count.js";
import { byId, plural, setText } from "/dom.js";
import { bindField } from "/field.js";
import { Log, messageText, timeOf } from "/log.js";
import { clearError, showError } from "/notice.js";
import { objectUrl, path, socketUrl } from "/path.js";
import { showCall, showDelete, showRead } from "/snippet.js";
import { ObjectState } from "/state.js";
import { StatusView } from "/status.js";
import { Tree } from "/tree.js";

/** A timer and not an animation frame: a background tab gets no frames. */
const RENDER_EVERY_MS = 16;
const NAMES_IN_LOG = 3;

const state = new ObjectState();
const log = new Log();
const tree = new Tree(path, () => state.children);
const children = new ChildList({ send: sendMessage, remove: removeChild });
const statusView = new StatusView(() => connection.open());
const connection = new Connection(socketUrl(path), { onStatus, onFrame });

let renderTimer = 0;
let lastReason = "";

function render() {
  renderTimer = 0;
  showCount(state.count);
  children.show(state.children);
}

function renderSoon() {
  renderTimer ||= setTimeout(render, RENDER_EVERY_MS);
}

function onStatus(status) {
  statusView.show(status);
  tree.setRunning(status.state === "live");
  logReason(status);
}

/** Attempt after attempt may fail for one reason: that is one line. */
function logReason({ state, reason = "" }) {
  if (reason && reason !== lastReason) log.add("event", reason);
  if (reason || state === "live") lastReason = reason;
}

const onFrameOf = {
  state(payload) {
    state.replace(payload);
    log.add("event", `state received: count ${state.count}, ${plural(state.children.size, "child", "children")}`);
    renderSoon();
  },
  change(payload) {
    logChange(payload);
    state.change(payload);
    renderSoon();
  },
  message({ message, sender }) {
    const text = messageText(message);
    log.add("message", text, sender);
    showLatest(text, sender);
  },
  error: ({ error }) => fail(error),
};

function onFrame({ type, payload }) {
  onFrameOf[type]?.(payload);
}

function logChange({ count, removed = [], added = [] }) {
  if (count !== undefined) log.addCount(state.count, count);
  if (removed.length > 0) log.add("event", named(removed), "deleted");
  if (added.length > 0) log.add("event", named(added), "created");
}

function named(names) {
  const rest = names.length - NAMES_IN_LOG;
  const first = names.slice(0, NAMES_IN_LOG).join(", ");
  return rest > 0 ? `${first} and ${rest.toLocaleString("en")} more` : first;
}

function showLatest(text, sender) {
  setText(byId("latest-message"), text);
  setText(byId("latest-sender"), String(sender));
  setText(byId("latest-time"), timeOf(new Date()));
  byId("latest").hidden = false;
}

function fail(text) {
  log.add("error", text);
  showError(text);
}

/** Asks the object to do something, and says so when it does not. */
async function call(type, payload) {
  showCall(type, payload);
  try {
    const result = await connection.request(type, payload);
    clearError();
    return result;
  } catch (error) {
    fail(error.message);
    throw error;
  }
}

async function createChild(name) {
  const created = await call("createAgent", { name });
  children.follow(created.name);
  renderSoon();
  return `Created ${created.path}`;
}

async function sendMessage(recipient, message) {
  await call("sendMessage", { recipient, message });
  log.add("event", messageText(message), `sent to ${recipient}`);
  return "Sent";
}

async function broadcast(message) {
  const { recipients } = await call("broadcast", { message });
  const reached = plural(recipients, "child", "children");
  log.add("event", messageText(message), `broadcast to ${reached}`);
  return `Sent to ${reached}`;
}

function removeChild(name) {
  call("deleteAgent", { name }).catch(() => {});
}

async function deleteObject() {
  showDelete();
  try {
    const response = await fetch(objectUrl(path), { method: "DELETE" });
    if (!response.ok) throw new Error(await refusalOf(response));
  } catch (error) {
    fail(error.message);
  }
}

async function refusalOf(response) {
  const answer = await response.json().catch(() => ({}));
  return answer.error ?? `Not deleted: the server answered ${response.status}`;
}

/** The root is the whole fleet: nobody deletes that with two clicks. */
function offerDeletion() {
  setText(byId("danger-path"), path);
  bindConfirm(byId("delete-object"), path, deleteObject);
  byId("danger").hidden = false;
}

function start() {
  document.title = `${path} · Fleet`;
  setText(byId("title"), path);
  showBreadcrumb();
  showRead();
  byId("increment").addEventListener("click", () => call("increment").catch(() => {}));
  bindField(byId("create-form"), byId("create-name"), byId("create-note"), createChild);
  bindField(byId("broadcast-form"), byId("broadcast-message"), byId("broadcast-note"), broadcast);
  if (path === "/") byId("root-hint").hidden = false;
  else offerDeletion();
  connection.open();
}

start();
