// Reads and calls over HTTP.

import { methodUrl, objectUrl } from "/path.js";

export async function getJson(url) {
  return answerOf(await fetch(url, { headers: { accept: "application/json" } }));
}

/** The state of the object at `path`, as any viewer gets it. */
export const readState = (path) => getJson(objectUrl(path));

/** `body` is JSON text. */
export async function callOverHttp(path, method, body) {
  const headers = { "content-type": "application/json" };
  return answerOf(await fetch(methodUrl(path, method), { method: "POST", headers, body }));
}

/** Deletes the object at `path` and everything below it. */
export async function remove(path) {
  const response = await fetch(objectUrl(path), { method: "DELETE" });
  if (!response.ok) await answerOf(response);
}

/** What the server answered; what it refuses is an `Error` that says why, with the server's `code`. */
async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const refusal = new Error(answer.error ?? `The server answered ${response.status}`);
  refusal.code = answer.code;
  throw refusal;
}
