// A box to submit a small batch: so many tasks of one type, each with the same data.

import { byId, plural } from "/dom.js";
import { Mistake, bindForm, readJson } from "/field.js";

/** What the built-in types take, so that there is something to try. */
const EXAMPLES = { echo: '{"hello":"fleet"}', sleep: '{"ms":500}', http: '{"url":"https://example.com/hook","body":{}}' };
const MOST_TASKS = 100_000;

/** `submit(tasks)` resolves to the id of the batch. */
export function bindSubmit(submit) {
  const [type, data, count] = [byId("submit-type"), byId("submit-data"), byId("submit-count")];
  data.value = EXAMPLES[type.value];
  type.addEventListener("input", () => {
    const untouched = data.value === "" || Object.values(EXAMPLES).includes(data.value);
    if (untouched) data.value = EXAMPLES[type.value] ?? "{}";
  });
  bindForm(byId("submit-form"), [type, data, count], byId("submit-note"), async () => {
    const tasks = tasksOf(type.value.trim(), readJson(data, "The data"), readCount(count));
    const id = await submit(tasks);
    return `Submitted ${plural(tasks.length, "task")} as ${id}`;
  });
}

function readCount(field) {
  const count = Number(field.value);
  if (Number.isInteger(count) && count >= 1 && count <= MOST_TASKS) return count;
  throw new Mistake(field, `From here, 1 to ${MOST_TASKS.toLocaleString("en")} tasks at once`);
}

const tasksOf = (type, data, count) => Array.from({ length: count }, (_, n) => ({ id: `${type}-${n + 1}`, type, data }));
