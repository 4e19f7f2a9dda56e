// Reads what exists below a path. Reading wakes and creates nothing.

import { childPath } from "/path.js";
import { getJson, readState } from "/read.js";

/** A subtree of up to this many objects is read in one go, with the counts of each. */
const WHOLE_SUBTREE = 500;

/** The first objects at and below `path`, by path, and whether these are all. */
export async function listBelow(path, limit = WHOLE_SUBTREE) {
  const query = new URLSearchParams({ prefix: path, limit });
  const { items, cursor } = await getJson(`/.fleet/objects?${query}`);
  return { items, whole: !cursor };
}

/** The names of the children that the object at `path` tells of: an agent does. */
export async function namesAt(path) {
  const { agents } = await readState(path);
  return new Set(Array.isArray(agents) ? agents : []);
}

/**
 * The direct children of a path, each `{name, path, children, sockets, leaf}`: first those that a
 * listing told of, among them objects that no parent lists, by name; then the other names, as they
 * come. There may be 100,000, so they are made one by one, for as long as somebody asks.
 */
export class Children {
  #path;
  #whole;
  #found = new Map();
  #names;

  constructor(path, { items, whole }, names = new Set()) {
    this.#path = path;
    this.#whole = whole;
    this.#names = names;
    const prefix = path === "/" ? "/" : `${path}/`;
    for (const item of items) {
      if (item.path !== path && item.path.startsWith(prefix)) this.#note(item, prefix);
    }
    this.#found = new Map([...this.#found].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  get total() {
    let total = this.#names.size;
    for (const name of this.#found.keys()) if (!this.#names.has(name)) total += 1;
    return total;
  }

  *[Symbol.iterator]() {
    yield* this.#found.values();
    for (const name of this.#names) if (!this.#found.has(name)) yield this.#unseen(name);
  }

  #note(item, prefix) {
    const [name, ...deeper] = item.path.slice(prefix.length).split("/");
    const child = this.#found.get(name) ?? this.#unseen(name);
    this.#found.set(name, child);
    if (deeper.length > 0 || item.children > 0) child.leaf = false;
    if (deeper.length > 0) return;
    child.children = item.children;
    child.sockets = item.sockets;
  }

  /** Only a whole listing can tell that nothing is below a child. */
  #unseen(name) {
    return { name, path: childPath(this.#path, name), children: 0, sockets: 0, leaf: this.#whole };
  }
}
