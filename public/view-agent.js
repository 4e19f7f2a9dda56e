// An agent of the Fleet Pattern: its count, its children, and what its parent says to it.

import { ChildList } from "/children.js";
import { showCount } from "/count.js";
import { byId, plural, setText, soon } from "/dom.js";
import { bindField } from "/field.js";
import { messageText, timeOf } from "/log.js";
import { path } from "/path.js";
import { ObjectState } from "/state.js";

const NAMES_IN_LOG = 3;

export function create({ call, log }) {
  const state = new ObjectState();
  const children = new ChildList({ send: sendMessage, remove: removeChild });
  const renderSoon = soon(() => {
    showCount(state.count);
    children.show(state.children);
  });

  async function createChild(name) {
    const named = byId("create-class").value.trim();
    const created = await call("createAgent", named ? { name, class: named } : { name });
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

  function logChange({ count, removed = [], added = [] }) {
    if (count !== undefined) log.addCount(state.count, count);
    if (removed.length > 0) log.add("event", listed(removed), "deleted");
    if (added.length > 0) log.add("event", listed(added), "created");
  }

  const frames = {
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
  };

  byId("increment").addEventListener("click", () => call("increment").catch(() => {}));
  bindField(byId("create-form"), byId("create-name"), byId("create-note"), createChild);
  bindField(byId("broadcast-form"), byId("broadcast-message"), byId("broadcast-note"), broadcast);
  byId("root-hint").hidden = path !== "/";
  return { frames, focus: () => byId("increment").focus(), children: () => state.children };
}

function listed(names) {
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
