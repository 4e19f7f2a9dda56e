// The count, in groups of three digits. The gaps are drawn by the stylesheet, so that the text of the
// element is the plain number.

import { byId, element } from "/dom.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const LONG = 7;

export function showCount(count) {
  const shown = byId("count");
  const digits = String(count);
  if (shown.textContent === digits) return;
  const groups = digits.match(/\d{1,3}(?=(\d{3})*$)/g);
  shown.replaceChildren(...groups.map((group) => element("span", {}, group)));
  shown.classList.toggle("long", digits.length > LONG);
  if (!still.matches) shown.animate({ opacity: [0.5, 1] }, { duration: 240, easing: "ease-out" });
}
