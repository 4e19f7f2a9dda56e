"""A worker for a fleet manager: connects below it, takes tasks, sends results. Python 3.11 or newer, nothing else:
    FLEET_WORKER=ws://127.0.0.1:8787/jobs/w1 FLEET_TOKEN=... python3 examples/worker.py"""
import base64, contextlib, hashlib, json, os, random, socket, ssl, struct, sys, threading, time
from urllib import parse, request

URL = parse.urlsplit(os.environ.get("FLEET_WORKER", "ws://127.0.0.1:8787/jobs/w1"))
TOKEN, CAPACITY = os.environ.get("FLEET_TOKEN", ""), int(os.environ.get("FLEET_CAPACITY", "4"))

# What it can do, by type of task. A handler gets the task's data and an event that is set when it is cancelled; what it
# returns is the result, and what it raises the error. It runs in a thread of its own.
HANDLERS = {
    "echo": lambda data, cancelled: data,
    "sleep": lambda data, cancelled: cancelled.wait(data["ms"] / 1000) or None,
    "sha256": lambda data, cancelled: hashlib.sha256(request.urlopen(data["url"], timeout=60).read()).hexdigest(),
}

class WebSocket:  # As much of RFC 6455 as a client of Fleet needs.
    def __init__(self, at):
        self.raw = socket.create_connection((at.hostname, at.port or {"ws": 80, "wss": 443}[at.scheme]), timeout=15)
        if at.scheme == "wss":
            self.raw = ssl.create_default_context().wrap_socket(self.raw, server_hostname=at.hostname)
        self.lock, self.file = threading.Lock(), self.raw.makefile("rb")
        self.raw.sendall(f"GET {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                         f"{base64.b64encode(os.urandom(16)).decode()}\r\n\r\n".encode())
        if b" 101 " not in (status := self.file.readline()):
            raise ConnectionError(status.decode().strip() or "no answer")
        while self.file.readline().strip():
            pass  # A header.

    def send(self, payload, kind=1):
        size, mask = len(payload), os.urandom(4)
        long = struct.pack(">BH", 0xFE, size) if size < 65536 else struct.pack(">BQ", 0xFF, size)
        head = bytes([0x80 | kind]) + (bytes([0x80 | size]) if size < 126 else long) + mask
        masked = int.from_bytes(payload) ^ int.from_bytes((mask * (size // 4 + 1))[:size])
        with self.lock:
            self.raw.sendall(head + masked.to_bytes(size))

    def receive(self):
        kind, size = self.file.read(2) or (0x88, 0)
        payload = self.file.read(size if size < 126 else int.from_bytes(self.file.read(2 if size == 126 else 8)))
        if kind == 0x88:
            raise ConnectionError(int.from_bytes(payload[:2]), payload[2:].decode() or "connection lost")
        if kind == 0x89:
            self.send(payload, 10)
        return json.loads(payload) if kind == 0x81 else self.receive()

running, results, connection, interval, failures = {}, {}, None, 5, 0  # by token: what runs, what is not acknowledged

def say(kind, payload, **more):
    with contextlib.suppress(OSError, AttributeError):  # Whoever reads finds out, and connects again.
        connection.send(json.dumps({"type": kind, "payload": payload, **more}).encode())

def run(task, cancelled):
    try:
        outcome = {"success": True, "result": HANDLERS[task["type"]](task["data"], cancelled)}
    except Exception as error:
        outcome = {"success": False, "error": f"{type(error).__name__}: {error}"}
    if not cancelled.is_set():
        results[task["token"]] = result = {"taskId": task["taskId"], "token": task["token"], **outcome}
        say("result", result)
    del running[task["token"]]

def beat():
    while not time.sleep(interval):  # An id asks for an answer: a connection without any is broken.
        say("heartbeat", {"metrics": {"running": len(running)}}, id=0)
        for result in list(results.values()):
            say("result", result)

def serve():
    global connection, interval, failures
    connection = WebSocket(URL)
    say("auth", {"token": TOKEN})  # Where none is asked for, any is good.
    say("ready", {"capacity": CAPACITY, "types": list(HANDLERS), "running": [*running, *results]})
    while frame := connection.receive():
        kind, payload = frame["type"], frame.get("payload")
        if kind == "task":
            running[payload["token"]] = cancelled = threading.Event()
            threading.Thread(target=run, args=(payload, cancelled), daemon=True).start()
        elif kind == "cancel" and payload["token"] in running:
            running[payload["token"]].set()
        elif kind == "ack":
            results.pop(payload["token"], None)
        elif kind == "welcome":
            interval, failures = payload["heartbeatInterval"] / 1000, 0
            connection.raw.settimeout(payload["leaseTimeout"] / 1000)
        elif kind != "result":
            print(kind, payload, flush=True)

threading.Thread(target=beat, daemon=True).start()
while True:
    try:
        serve()
    except (OSError, ValueError) as error:
        if error.args[0] in (4401, 4403):
            sys.exit(f"refused: {error}")
        delay = min(30, 0.25 * 2 ** (failures := failures + 1)) * random.uniform(0.5, 1)
        print(f"{error}; again in {delay:.1f} s", flush=True)
        time.sleep(delay)
