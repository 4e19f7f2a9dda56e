// Which class the object has, and so which view of it the page shows. Asking wakes and creates nothing
// that was not there.

import { readState } from "/read.js";
import { listBelow } from "/subtree.js";

/** Any other class, a user's own above all, gets the generic view. */
const VIEWS = {
  agent: "agent",
  "fleet-manager": "manager",
  "worker-connection": "connection",
  worker: "worker",
  coordinator: "coordinator",
};

export const viewOf = (name) => (Object.hasOwn(VIEWS, name) ? VIEWS[name] : "object");

/**
 * The protocol that the page speaks with an object of this view; "" where it opens no socket: those of a
 * worker's connection are the worker's, and a worker is gone as soon as it is done. A class of one's own
 * is asked for its whole state whenever it changes: what its changes mean, the page cannot know.
 */
export function protocolOf(view) {
  if (view === "connection" || view === "worker") return "";
  return view === "object" ? "fleet.v1" : "fleet.v2";
}

/** The class of the object at `path`, as far as that can be known; else "". */
export async function classOf(path) {
  // Where nothing is stored, the state says what it would be.
  return (await listedClass(path)) || classIn(await readState(path));
}

/** The class of what is stored at `path`; "" for nothing. */
export async function listedClass(path) {
  const [first] = (await listBelow(path, 1)).items;
  return first?.path === path ? first.class : "";
}

function classIn(state) {
  if (typeof state?.class === "string") return state.class;
  return typeof state?.data?.count === "number" && Array.isArray(state.agents) ? "agent" : "";
}
