// The subtree below the path: nested lists, each node a link, with a button that opens what is below
// it. Open nodes are read again every two seconds while somebody can see them.

import { arrange, byId, element, plural, setText } from "/dom.js";
import { Refresh } from "/refresh.js";
import { Children, listBelow, namesAt } from "/subtree.js";

const FIRST_SHOWN = 20;
const MORE = 200;

export class Tree {
  #root;
  #ownNames;
  #refreshing = new Refresh(() => this.#refreshAll());

  /** `ownNames()` gives the children of `path` itself, which the page knows without asking. */
  constructor(path, ownNames) {
    const box = byId("tree");
    this.#ownNames = ownNames;
    this.#root = branch(path);
    this.#root.open = true;
    box.append(...this.#root.contents);
    box.addEventListener("keydown", (event) => steer(event, box));
    this.#bindMore(this.#root);
  }

  /** Runs while the connection lives: nobody answers otherwise. */
  setRunning(running) {
    this.#refreshing.setRunning(running);
  }

  async #refreshAll() {
    try {
      await this.#refresh(this.#root);
      setText(byId("tree-note"), "");
    } catch (error) {
      setText(byId("tree-note"), "not available now");
      console.warn(error);
    }
  }

  /** Reads an open node and the open ones below it; `listing` is a whole one of a node above. */
  async #refresh(node, listing) {
    const turn = ++node.turn;
    const below = listing ?? (await listBelow(node.path));
    const names = below.whole ? undefined : await this.#namesOf(node);
    if (turn !== node.turn) return;
    node.children = new Children(node.path, below, names);
    this.#show(node);
    const open = [...node.branches.values()].filter((child) => child.open);
    for (const child of open) await this.#refresh(child, below.whole ? below : undefined);
  }

  #namesOf(node) {
    return node === this.#root ? this.#ownNames() : namesAt(node.path);
  }

  #show(node) {
    const shown = new Map();
    for (const child of node.children) {
      if (shown.size === node.limit) break;
      shown.set(child.name, child);
    }
    arrange(node.list, node.rows, shown.keys(), (name) => this.#row(node, shown.get(name)));
    for (const name of node.branches.keys()) if (!shown.has(name)) node.branches.delete(name);
    for (const child of shown.values()) describe(node.branches.get(child.name), child);
    const { total } = node.children;
    const rest = total - shown.size;
    node.none.hidden = total > 0;
    node.more.hidden = rest === 0;
    setText(node.more, `Show ${Math.min(MORE, rest)} more of ${total.toLocaleString("en")}`);
  }

  #row(parent, { name, path }) {
    const node = branch(path);
    parent.branches.set(name, node);
    node.toggle.setAttribute("aria-label", `Below ${name}`);
    node.toggle.addEventListener("click", () => this.#toggle(node));
    this.#bindMore(node);
    const line = element("div", { class: "node" }, node.toggle, element("a", { href: path }, name), node.facts);
    node.box.append(...node.contents);
    return element("li", { "data-path": path }, line, node.box);
  }

  async #toggle(node) {
    node.open = !node.open;
    node.toggle.setAttribute("aria-expanded", String(node.open));
    node.box.hidden = !node.open;
    if (node.open) await this.#refresh(node).catch(() => this.#refreshing.now());
  }

  #bindMore(node) {
    node.more.addEventListener("click", () => {
      node.limit += MORE;
      this.#show(node);
    });
  }
}

function branch(path) {
  const list = element("ul");
  const none = element("p", { class: "empty" }, "Nothing here yet.");
  const more = element("button", { type: "button", class: "quiet more" });
  none.hidden = more.hidden = true;
  return {
    path,
    list,
    none,
    more,
    contents: [list, none, more],
    box: element("div", { class: "below", hidden: "" }),
    open: false,
    turn: 0,
    limit: FIRST_SHOWN,
    children: null,
    rows: new Map(),
    branches: new Map(),
    toggle: element("button", { type: "button", class: "toggle", "aria-expanded": "false" }),
    facts: element("span", { class: "facts" }),
  };
}

function describe(node, { children, sockets, leaf }) {
  node.toggle.disabled = leaf && !node.open;
  const facts = [];
  if (children > 0) facts.push(plural(children, "child", "children"));
  if (sockets > 0) facts.push(`${sockets.toLocaleString("en")} connected`);
  setText(node.facts, facts.join(" · "));
  node.facts.classList.toggle("watched", sockets > 0);
}

/** Arrow keys: up and down along the lines, right opens, left closes or goes to the line above. */
function steer(event, box) {
  const line = event.target.closest(".node");
  const lines = [...box.querySelectorAll(".node")].filter((each) => each.checkVisibility());
  const toggle = line?.querySelector(".toggle");
  const open = toggle?.getAttribute("aria-expanded") === "true";
  const go = {
    ArrowDown: () => lines[lines.indexOf(line) + 1],
    ArrowUp: () => lines[lines.indexOf(line) - 1],
    ArrowRight: () => (open ? lines[lines.indexOf(line) + 1] : toggle.click()),
    ArrowLeft: () => (open ? toggle.click() : line.closest(".below")?.previousElementSibling),
  }[event.key];
  if (!line || !go || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  go()?.querySelector("a").focus();
}
