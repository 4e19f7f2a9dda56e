// Makes elements. Text always enters as text: nothing in this page parses HTML.

export const byId = (id) => document.getElementById(id);

/** `element("button", { class: "send", type: "button" }, "Send")` */
export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

/** Sets text only when it differs, so that nothing is announced or laid out twice. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows pairs of a name and a value in a `<dl>`. */
export function showFacts(list, facts) {
  list.replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

export const plural = (count, one, many = `${one}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A timer and not an animation frame: a background tab gets no frames. */
const RENDER_EVERY_MS = 16;

/** A function that has `render` run soon, once however often it is called until then. */
export function soon(render) {
  let timer = 0;
  const run = () => {
    timer = 0;
    render();
  };
  return () => (timer ||= setTimeout(run, RENDER_EVERY_MS));
}

/**
 * Makes the elements of `list` those that `rowOf` gives for `keys`, in that order. What stays is not
 * touched, so it keeps its focus and its half-written text.
 */
export function arrange(list, rows, keys, rowOf) {
  const wanted = new Set(keys);
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  let next = list.firstElementChild;
  for (const key of wanted) {
    if (!rows.has(key)) rows.set(key, rowOf(key));
    const row = rows.get(key);
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
  }
}
