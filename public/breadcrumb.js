// The path as links, from the root to this object. A very deep path is folded in the middle.

import { byId, element } from "/dom.js";
import { childPath, segments } from "/path.js";

const UNFOLDED = 8;
const TAIL = 4;

export function showBreadcrumb() {
  const crumbs = [crumb("root", "/")];
  let at = "/";
  for (const name of segments) {
    at = childPath(at, name);
    crumbs.push(crumb(name, at));
  }
  crumbs.at(-1).firstElementChild.setAttribute("aria-current", "page");
  const folded = crumbs.length > UNFOLDED ? crumbs.slice(1, -TAIL) : [];
  byId("breadcrumb").append(...crumbs);
  if (folded.length > 0) fold(crumbs[0], folded);
}

const crumb = (name, path) => element("li", {}, element("a", { href: path }, name));

function fold(root, folded) {
  const label = `Show ${folded.length} more parts of the path`;
  const button = element("button", { type: "button", class: "quiet", "aria-label": label }, "…");
  const item = element("li", {}, button);
  for (const crumb of folded) crumb.hidden = true;
  button.addEventListener("click", () => {
    for (const crumb of folded) crumb.hidden = false;
    item.remove();
    folded[0].firstElementChild.focus();
  });
  root.after(item);
}
