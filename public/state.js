// What the page knows of its object: the count, and the children in the order of their creation.

export class ObjectState {
  count = 0;
  children = new Set();

  replace({ data, agents }) {
    this.count = data.count;
    this.children = new Set(agents);
  }

  /** Removals come first: a name in both was deleted and created anew. */
  change({ count = this.count, removed = [], added = [] }) {
    this.count = count;
    for (const name of removed) this.children.delete(name);
    for (const name of added) this.children.add(name);
  }
}
