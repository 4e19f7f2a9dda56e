#!/usr/bin/env -S node --experimental-websocket
// A worker for a fleet manager: connects below it, takes tasks, sends results. Node 22 or newer, or Node 20 with
// --experimental-websocket; nothing else.
//
//     FLEET_WORKER=ws://127.0.0.1:8787/jobs/w1 FLEET_TOKEN=... node --experimental-websocket examples/worker.mjs
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const { FLEET_WORKER = "ws://127.0.0.1:8787/jobs/w1", FLEET_TOKEN = "", FLEET_CAPACITY = "4" } = process.env;

// What it can do, by type of task. A handler gets the task's data and a signal that is aborted when it is cancelled;
// what it returns is the result, and what it throws the error.
const handlers = {
  echo: async (data) => data,
  sleep: async ({ ms }, signal) => sleep(ms, null, { signal }),
  sha256: async ({ url }, signal) => {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return createHash("sha256").update(Buffer.from(await response.arrayBuffer())).digest("hex");
  },
};

const running = new Map(); // by token: what cancels it
const results = new Map(); // by token: kept until the manager has it
let [socket, interval, lease, heard, failures] = [null, 5_000, 15_000, 0, 0];

function say(type, payload, id) {
  // What is not sent now is sent when it is connected again.
  if (socket?.readyState === 1) socket.send(JSON.stringify({ type, id, payload }));
}

async function run({ taskId, token, type, data }) {
  const cancellation = new AbortController();
  running.set(token, cancellation);
  let outcome;
  try {
    outcome = { success: true, result: (await handlers[type](data, cancellation.signal)) ?? null };
  } catch (error) {
    outcome = { success: false, error: String(error) };
  }
  if (!cancellation.signal.aborted) {
    results.set(token, { taskId, token, ...outcome });
    say("result", results.get(token));
  }
  running.delete(token);
}

const frames = {
  task: run,
  cancel: ({ token }) => running.get(token)?.abort(),
  ack: ({ token }) => results.delete(token),
  welcome: ({ heartbeatInterval, leaseTimeout }) => {
    [interval, lease, failures] = [heartbeatInterval, leaseTimeout, 0];
  },
  result: () => {}, // of a heartbeat: that it was heard is enough
};

function connect() {
  heard = Date.now();
  socket = new WebSocket(FLEET_WORKER);
  socket.onopen = () => {
    say("auth", { token: FLEET_TOKEN }); // Where none is asked for, any is good.
    const known = [...running.keys(), ...results.keys()];
    say("ready", { capacity: Number(FLEET_CAPACITY), types: Object.keys(handlers), running: known });
  };
  socket.onmessage = ({ data }) => {
    heard = Date.now();
    const { type, payload } = JSON.parse(data);
    if (type in frames) frames[type](payload);
    else console.log(type, payload);
  };
  socket.onclose = lost;
}

async function lost({ code, reason }) {
  if (code === 4401 || code === 4403) {
    console.error(`refused: ${code} ${reason}`);
    process.exit(1);
  }
  const delay = Math.min(30_000, 250 * 2 ** ++failures) * (0.5 + Math.random() / 2);
  console.log(`${code} ${reason}; again in ${Math.round(delay)} ms`);
  await sleep(delay);
  connect();
}

connect();
while (true) {
  await sleep(interval);
  // An id asks for an answer: a connection without any is broken.
  say("heartbeat", { metrics: { running: running.size } }, 0);
  for (const result of results.values()) say("result", result);
  if (socket.readyState === 1 && Date.now() - heard > lease) {
    socket.onclose = null;
    socket.close();
    lost({ code: 1006, reason: "silence" });
  }
}
