// Numbers, times and spans of time, as people read them.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const UNITS = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [SECOND, "s"]];

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const number = (value) => value.toLocaleString("en");

/** `850 ms`, `4.2 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function span(ms) {
  const whole = Math.max(0, Math.round(ms));
  if (whole < SECOND) return `${whole} ms`;
  if (whole < 10 * SECOND) return `${(whole / SECOND).toFixed(1)} s`;
  const first = UNITS.findIndex(([size]) => whole >= size);
  const [size, name] = UNITS[first];
  const [nextSize, nextName] = UNITS[first + 1] ?? [];
  const rest = Math.floor((whole % size) / nextSize);
  return `${Math.floor(whole / size)} ${name}${rest ? ` ${rest} ${nextName}` : ""}`;
}

/** The time of day; the date too, where it was not today. */
export function moment(at) {
  const date = new Date(at);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : calendar.format(date);
}

export const ago = (at) => {
  const passed = Date.now() - at;
  return passed < SECOND ? "just now" : `${span(Math.floor(passed / SECOND) * SECOND)} ago`;
};
