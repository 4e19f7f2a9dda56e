// A worker within the server: what its one attempt is doing. It is gone as soon as that is over.

import { byId, setText, showFacts, soon } from "/dom.js";
import { moment, span } from "/format.js";
import { segments } from "/path.js";

export function create({ log }) {
  let state = {};
  const renderSoon = soon(() => show(state));
  const manager = `/${segments.slice(0, -1).join("/")}`;
  byId("worker-manager").href = manager;
  setText(byId("worker-manager"), manager);

  const frames = {
    state(payload) {
      const next = isWorker(payload) ? payload : { ...state, status: "gone" };
      if (next.status !== state.status) log.add("event", next.status);
      state = next;
      renderSoon();
    },
  };
  return { frames, focus: () => byId("worker-manager").focus() };
}

/** Where a worker was, there is a place for a worker's connection again. */
const isWorker = ({ status }) => typeof status === "string";

function show({ status, taskId, type, startedAt, completedAt }) {
  setText(byId("worker-status"), status);
  const facts = [];
  if (taskId) facts.push(["Task", taskId]);
  if (type) facts.push(["Type", type]);
  if (startedAt) facts.push(["Started", moment(startedAt)]);
  if (startedAt && completedAt) facts.push(["Took", span(completedAt - startedAt)]);
  showFacts(byId("worker-facts"), facts);
  byId("worker-gone").hidden = status !== "gone";
}
