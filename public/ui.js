// The shell of the page: the connection, the log, the path, the tree and the deletion, which are the same
// for every object; and the choice of the view that shows what is the object's own.
//
// A view is a module `view-NAME.js` with a function `create(shell)`, and a `<template id="view-NAME">`
// whose parts go where their `data-slot` says. It gives
//   frames    what to do with the payload of each type of frame it knows
//   focus()   takes the focus when the object is opened anew
//   status?   is told how the connection stands
//   children? the names of the object's children, where it knows them

import { showBreadcrumb } from "/breadcrumb.js";
import { classOf, protocolOf, viewOf } from "/class.js";
import { bindConfirm } from "/confirm.js";
import { Connection } from "/connection.js";
import { byId, setText } from "/dom.js";
import { Log, messageText } from "/log.js";
import { clearError, showError } from "/notice.js";
import { path, socketUrl } from "/path.js";
import { PolledSocket } from "/polled.js";
import { remove } from "/read.js";
import { showCall, showDelete, showRead } from "/snippet.js";
import { StatusView } from "/status.js";
import { Tree } from "/tree.js";

const log = new Log();
const tree = new Tree(path, () => view?.children?.() ?? new Set());
const statusView = new StatusView(() => connection.open(), () => view?.focus());
const connection = new Connection(dial, { onStatus, onFrame });
const shell = { log, call, attempt, fail, request: (type, payload) => connection.request(type, payload) };

let view = null;
let viewName = "";
let lastReason = "";

/** An object that was deleted may be of another class when it comes again. */
async function dial() {
  if (!viewName) await chooseView();
  const protocol = protocolOf(viewName);
  return protocol ? new WebSocket(socketUrl(path), [protocol]) : new PolledSocket(path);
}

async function chooseView() {
  const className = await classOf(path);
  const name = viewOf(className);
  if (view && view.name !== name) await reloaded();
  view ??= await makeView(name, className);
  viewName = name;
}

/** Nothing goes on until then. */
function reloaded() {
  location.reload();
  return new Promise(() => {});
}

async function makeView(name, className) {
  const { create } = await import(`/view-${name}.js`);
  const { children } = byId(`view-${name}`).content.cloneNode(true);
  for (const part of [...children]) byId(part.dataset.slot).append(part);
  document.body.dataset.view = name;
  showRead(protocolOf(name));
  return { name, ...create({ ...shell, className }) };
}

function onStatus(status) {
  statusView.show(status);
  tree.setRunning(status.state === "live");
  view?.status?.(status);
  if (status.state === "deleted") viewName = "";
  logReason(status);
}

/** Attempt after attempt may fail for one reason: that is one line. */
function logReason({ state, reason = "" }) {
  if (reason && reason !== lastReason) log.add("event", reason);
  if (reason || state === "live") lastReason = reason;
}

const common = {
  message: ({ message, sender }) => log.add("message", messageText(message), String(sender)),
  error: ({ error }) => fail(error),
};

/** A frame of a type that nobody here knows is the class's own: it is told as it is. */
function onFrame({ type, payload }) {
  const known = view.frames[type] ?? common[type];
  if (known) known(payload);
  else log.add("message", messageText(payload ?? null), type);
}

function fail(text) {
  log.add("error", text);
  showError(text);
}

/** Asks the object to do something, and says so when it does not. */
function call(type, payload) {
  showCall(type, payload);
  return attempt(connection.request(type, payload));
}

/** Waits for an answer, and says what is wrong when there is none. */
async function attempt(asked) {
  try {
    const result = await asked;
    clearError();
    return result;
  } catch (error) {
    fail(error.message);
    throw error;
  }
}

async function deleteObject() {
  showDelete();
  try {
    await remove(path);
    connection.deleted();
  } catch (error) {
    fail(error.message);
  }
}

/** The root is the whole fleet: nobody deletes that with two clicks. */
function offerDeletion() {
  setText(byId("danger-path"), path);
  bindConfirm(byId("delete-object"), `delete ${path}`, deleteObject, " and everything below it");
  byId("danger").hidden = false;
}

function start() {
  document.title = `${path} · Fleet`;
  setText(byId("title"), path);
  showBreadcrumb();
  if (path !== "/") offerDeletion();
  connection.open();
}

start();
