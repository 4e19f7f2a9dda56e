// The list of children. There may be 100,000: only the first few are in the document, with a filter
// and "show more" for the others. What was created in this window is shown wherever it stands.

import { childRow } from "/child-row.js";
import { arrange, byId, plural, setText } from "/dom.js";
import { childPath, path } from "/path.js";

const FIRST_SHOWN = 20;
const MORE = 100;
/** From here on, a filter is worth its room. */
const FILTER_FROM = 10;

export class ChildList {
  #list = byId("children");
  #filter = byId("filter");
  #rows = new Map();
  #own = new Set();
  #names = new Set();
  #limit = FIRST_SHOWN;
  #actions;

  constructor(actions) {
    this.#actions = actions;
    this.#filter.addEventListener("input", () => {
      this.#limit = FIRST_SHOWN;
      this.show(this.#names);
    });
    byId("children-more").addEventListener("click", () => this.#showMore());
  }

  /** Keeps `name` among what is shown, although it stands far down the list. */
  follow(name) {
    this.#own.add(name);
  }

  /** `names` is the set of all of them, in order. */
  show(names) {
    this.#names = names;
    const { shown, matching } = this.#select();
    const focused = this.#focusedRow();
    arrange(this.#list, this.#rows, shown, (name) => childRow(name, childPath(path, name), this.#actions));
    if (focused && !focused.row.isConnected) this.#focusNear(focused.index);
    this.#showSummary(shown.length, matching);
  }

  #select() {
    const wanted = this.#filter.value.toLowerCase();
    const matches = (name) => name.toLowerCase().includes(wanted);
    const shown = [];
    let matching = wanted ? 0 : this.#names.size;
    for (const name of this.#names) {
      if (!wanted && shown.length >= this.#limit) break;
      if (wanted && !matches(name)) continue;
      if (wanted) matching += 1;
      if (shown.length < this.#limit) shown.push(name);
    }
    for (const name of this.#own) {
      if (!this.#names.has(name)) this.#own.delete(name);
      else if (matches(name)) shown.push(name);
    }
    return { shown: [...new Set(shown)], matching };
  }

  #showSummary(shown, matching) {
    const total = this.#names.size;
    const filtered = this.#filter.value !== "";
    setText(byId("children-count"), total > 0 ? total.toLocaleString("en") : "");
    byId("children-none").hidden = total > 0;
    byId("filter-field").hidden = total < FILTER_FROM && !filtered;
    setText(byId("filter-matches"), filtered ? plural(matching, "match", "matches") : "");
    const more = byId("children-more");
    more.hidden = shown >= matching;
    setText(more, `Show ${Math.min(MORE, matching - shown)} more of ${matching.toLocaleString("en")}`);
  }

  #showMore() {
    const last = this.#list.children.length;
    this.#limit += MORE;
    this.show(this.#names);
    if (byId("children-more").hidden) this.#focusNear(last);
  }

  #focusedRow() {
    const row = document.activeElement?.closest("#children > li");
    return row && { row, index: [...this.#list.children].indexOf(row) };
  }

  #focusNear(index) {
    const row = this.#list.children[Math.min(index, this.#list.children.length - 1)];
    (row?.querySelector(".open") ?? byId("create-name")).focus();
  }
}
