// A button that destroys asks once more, in place: the first press arms it, the second one acts.
// Leaving it or Escape disarms it.

import { announce } from "/notice.js";

/**
 * `what` names what is done, such as "delete worker-1", and `consequence` what else goes with it; `act`
 * is called on the second press.
 */
export function bindConfirm(button, what, act, consequence = "") {
  const calm = button.textContent;
  const arm = (armed) => {
    button.toggleAttribute("data-armed", armed);
    button.textContent = armed ? "Confirm" : calm;
    button.setAttribute("aria-label", `${armed ? "Confirm" : calm}: ${what}`);
  };
  arm(false);
  button.addEventListener("blur", () => arm(false));
  button.addEventListener("keydown", (event) => event.key === "Escape" && arm(false));
  button.addEventListener("click", () => {
    if (button.hasAttribute("data-armed")) {
      arm(false);
      act();
      return;
    }
    arm(true);
    button.focus();
    announce(`Press again to ${what}${consequence}, Escape to keep it`);
  });
}
