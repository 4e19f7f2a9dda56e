// Any object: its state as JSON, live, and a box to call its methods. This is the view of classes that
// the page knows nothing of.

import { listedClass } from "/class.js";
import { byId, setText, soon } from "/dom.js";
import { bindForm, readJson } from "/field.js";
import { showJson } from "/json.js";
import { messageText } from "/log.js";
import { path } from "/path.js";
import { callOverHttp, readState } from "/read.js";
import { Refresh } from "/refresh.js";
import { showCall } from "/snippet.js";

/** A class with frames of its own may never answer. */
const ANSWER_MS = 10_000;
/** So often it is asked for the class of an object that has just been written for the first time. */
const MOST_ASKS = 3;

export function create({ attempt, className, log, request }) {
  const [method, payload] = [byId("call-method"), byId("call-payload")];
  const refresh = new Refresh(read);
  const renderSoon = soon(() => showJson(byId("state"), state));
  let state = null;
  /** Whether the class tells no state, so that it has to be read. */
  let silent = false;
  let named = className;
  let asks = MOST_ASKS;

  async function read() {
    try {
      state = await readState(path);
      renderSoon();
    } catch (error) {
      console.warn(error);
    }
  }

  async function callMethod() {
    const name = method.value.trim();
    if (!name) throw new Error("Method required");
    const body = readJson(payload, "The payload");
    showCall(name, body ?? undefined);
    const bySocket = byId("call-by-socket").checked;
    const asked = bySocket ? answered(request(name, body)) : callOverHttp(path, name, JSON.stringify(body));
    const answer = await attempt(asked);
    log.add("event", messageText(answer ?? null), name);
    showJson(byId("answer"), answer);
    byId("answer-part").hidden = false;
    if (silent) refresh.now();
    return "Answered";
  }

  bindForm(byId("call-form"), [method, payload], byId("call-note"), callMethod);

  /** An object that was never written is nowhere listed, and its state need not say what it is. */
  async function learnClass() {
    named = await listedClass(path).catch(() => "");
    showClass(named);
  }

  const frames = {
    state(payload) {
      if (state !== null && !named && asks-- > 0) learnClass();
      state = payload;
      renderSoon();
    },
  };
  showClass(named);
  const status = (status) => {
    silent = status.state === "live" && status.silent === true;
    refresh.setRunning(silent);
  };
  return { frames, status, focus: () => method.focus() };
}

function showClass(name) {
  byId("class-part").hidden = !name;
  setText(byId("class-name"), name);
}

/** Rejects when no answer comes. */
function answered(asked) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("No answer: does this class have frames of its own? Try HTTP.")), ANSWER_MS);
  });
  return Promise.race([asked, late]);
}
