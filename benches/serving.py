"""What the benches share: the binary, a serving polymeter, OTLP requests, a load with a fixed rate, and the disk alone."""

import contextlib
import http.client
import json
import math
import multiprocessing
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NS = 1_000_000_000
# Whoever is ended ends what it has started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def binary():
    """The binary that is measured: POLYMETER_BIN, or the release build."""
    path = os.environ.get("POLYMETER_BIN")
    if not path:
        command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
        target = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["target_directory"]
        path = f"{target}/release/polymeter"
    if not pathlib.Path(path).exists():
        sys.exit(f"there is no {path}: run `cargo build --release`, or set POLYMETER_BIN")
    return path


def testenv(name):
    """Python of a virtual environment that `tests/full/run` makes; None if it is not there."""
    python = pathlib.Path(os.environ.get("POLYMETER_TESTENV", ROOT / "target/testenv")) / name / "bin/python"
    return python if python.exists() else None


@contextlib.contextmanager
def folder():
    """A temporary folder in target/bench: the disk of the build tree is the one that is measured."""
    (ROOT / "target/bench").mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=ROOT / "target/bench"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def end(child):
    """SIGTERM, and SIGKILL for what does not end by it."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def quantile(values, share):
    """The value that this share of the values does not pass; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def until(condition, seconds, pause=0.1):
    """Whether `condition()` holds within `seconds`."""
    end_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_at:
            return False
        time.sleep(pause)
    return True


class Refused(Exception):
    """polymeter did not start; the text says why."""


class Server:
    """A serving polymeter on free loopback ports; `config` is TOML."""

    def __init__(self, data, work, config="", options=()):
        number = len(list(work.glob("serve-*.toml")))
        settings, self.log = work / f"serve-{number}.toml", work / f"serve-{number}.log"
        settings.write_text(config)
        command = [binary(), "serve", "--data", str(data), "--config", str(settings), *options]
        for option in ("--http", "--otlp-grpc", "--otlp-http"):
            command += [option, "127.0.0.1:0"]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            ready = lambda: self.process.poll() is not None or b"polymeter sql" in self.log.read_bytes()
            if not until(ready, 120, 0.02) or self.process.poll() is not None:
                raise Refused(self.log.read_text().strip()[-1500:])
        except BaseException:
            end(self.process)
            raise
        address = lambda name: re.search(rf"{name}\s+http://([^\s/]+)", self.log.read_text()).group(1)
        self.api, self.otlp = address("HTTP API"), address("OTLP/HTTP")
        self.connection = http.client.HTTPConnection(self.api, timeout=120)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        end(self.process)

    def ask(self, method, path, body=None):
        """Status and body of an answer of the API, over one connection that is kept."""
        self.connection.request(method, path, body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def rows(self, statement, *params):
        status, body = self.ask("POST", "/api/v1/sql", json.dumps({"sql": statement, "params": params}))
        if status != 200:
            raise RuntimeError(f"{status} {body.decode()}")
        return json.loads(body)["rows"]

    def value(self, statement, *params):
        """The one value of the one row."""
        ((value,),) = (row.values() for row in self.rows(statement, *params))
        return value

    def metrics(self):
        """Name with labels, as printed, to value."""
        lines = (line.rsplit(" ", 1) for line in self.ask("GET", "/metrics")[1].decode().splitlines() if line[:1] not in ("", "#"))
        return {name: float(value) for name, value in lines}

    def metric(self, name):
        """A metric summed over its labels; None if there is none of this name."""
        found = [value for key, value in self.metrics().items() if key.split("{")[0] == name]
        return sum(found) if found else None


def demo_store(data, work, calls=50_000):
    """Makes a store of the demo's calls of the last 48 hours, settled; their number."""
    with Server(data, work, options=["--demo"]) as server:
        count = lambda: server.value("SELECT count(*) AS n FROM calls")
        if not until(lambda: count() >= calls, 600, 1):
            sys.exit(f"the demo made {count()} calls in ten minutes")
        settles = lambda: server.metric("polymeter_settles_total") or 0
        before = settles()
        until(lambda: settles() > before, 90, 1)
        return count()


# --- OTLP as protobuf ---------------------------------------------------------------------------------------------


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """A field of a message: bytes and text by length, an integer as varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(key, value):
    return field(1, key) + field(2, field(3 if isinstance(value, int) else 1, value))


class Calls:
    """Encoded export requests of one call each; the parts that differ stand between fixed ones."""

    def __init__(self):
        marks = [b"<trace-id:16 b.>", b"<span:8>", b"<start8>", b"<stop:8>", b"<user-of-16-byt>", b"<response-id-of-24-byte>"]
        given = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
        given |= {"gen_ai.response.model": "gpt-4o-2024-11-20", "gen_ai.response.id": marks[5], "server.address": "api.openai.com"}
        given |= {"user.id": marks[4], "gen_ai.usage.input_tokens": 1842, "gen_ai.usage.output_tokens": 211}
        given |= {"gen_ai.usage.cache_read.input_tokens": 1024, "server.port": 443}
        span = field(1, marks[0]) + field(2, marks[1]) + field(5, "chat gpt-4o") + field(6, 3)
        span += varint(7 << 3 | 1) + marks[2] + varint(8 << 3 | 1) + marks[3]
        span += b"".join(field(9, attribute(key, value)) for key, value in given.items())
        scope = field(1, "opentelemetry.instrumentation.openai_v2") + field(2, "2.2b0")
        owner = {"service.name": "checkout", "deployment.environment.name": "production"}
        resource = b"".join(field(1, attribute(key, value)) for key, value in owner.items())
        body = field(1, field(1, resource) + field(2, field(1, scope) + field(2, span)))
        self.parts = re.split(b"(" + b"|".join(map(re.escape, marks)) + b")", body)
        self.marks = marks

    def body(self, user="u-10442", start_ns=None):
        """A call of its own, by default one that has just ended."""
        start = start_ns or time.time_ns() - 2 * NS
        unique = random.getrandbits(192).to_bytes(24, "big")
        values = [unique[:16], unique[16:], start.to_bytes(8, "little"), (start + 2 * NS).to_bytes(8, "little")]
        values += [user.encode().rjust(16, b"."), b"chatcmpl-" + unique[:8].hex().encode()[:15]]
        fill = dict(zip(self.marks, values))
        return b"".join(fill.get(part, part) for part in self.parts)


def user(name):
    """How `user_id` of a call shows that was made with this user."""
    return name.rjust(16, ".")


class Sender:
    """One connection to OTLP/HTTP, for requests one after the other."""

    def __init__(self, server):
        self.calls, self.connection = Calls(), http.client.HTTPConnection(server.otlp, timeout=120)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, **call):
        """Sends one call; returns when it is acknowledged."""
        self.connection.request("POST", "/v1/traces", self.calls.body(**call), {"content-type": "application/x-protobuf"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {text!r}")


# --- load at a fixed rate -----------------------------------------------------------------------------------------


def open_loop(address, rate, seconds, connections):
    """Requests are due at fixed instants, whatever the answers take; latency counts from the due instant, so a request
    that had to wait for a free connection or a late client is not flattered. Returns (latencies of the acknowledged ones,
    how late the client itself was, failures)."""
    host, port = address.rsplit(":", 1)
    calls, idle, busy, waiting = Calls(), [], {}, []
    for _ in range(connections):
        one = socket.create_connection((host, int(port)))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        idle.append(one)
    head = f"POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {len(calls.body())}\r\n\r\n".encode()
    begin, sent, total = time.perf_counter(), 0, int(rate * seconds)
    latencies, late, failed = [], [], 0
    while sent < total or waiting or busy:
        now = time.perf_counter()
        while sent < total and begin + sent / rate <= now:
            waiting.append(begin + sent / rate)
            sent += 1
        while waiting and idle:
            one, due = idle.pop(), waiting.pop(0)
            one.sendall(head + calls.body())
            busy[one] = (due, b"")
            if not waiting:
                late.append(time.perf_counter() - due)
        pause = max(0.0, begin + sent / rate - time.perf_counter()) if sent < total else 1.0
        for one in select.select(list(busy), [], [], pause)[0]:
            due, got = busy[one]
            got += one.recv(65536)
            top, _, rest = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", top, re.IGNORECASE)
            if not got or (length and len(rest) >= int(length.group(1))):
                if got.startswith(b"HTTP/1.1 200"):
                    latencies.append(time.perf_counter() - due)
                else:
                    failed += 1
                del busy[one]
                if got:
                    idle.append(one)
            else:
                busy[one] = (due, got)
        if not idle and not busy:
            break
    return latencies, late, failed + len(waiting)


class Load:
    """`open_loop` in a process of its own, so that measuring beside it does not slow it down."""

    def __init__(self, server, rate, seconds, connections=64):
        context = multiprocessing.get_context("fork")
        self.results, out = context.Pipe(False)

        def work():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            out.send(open_loop(server.otlp, rate, seconds, connections))

        self.process = context.Process(target=work, daemon=True)
        self.process.start()
        out.close()

    def running(self):
        return self.process.is_alive() and not self.results.poll()

    def result(self):
        """Waits for the end."""
        try:
            return self.results.recv()
        except EOFError:
            sys.exit("the load client has died")


# --- the disk alone -----------------------------------------------------------------------------------------------


def journal_object_size(data):
    """Mean size of what lies in the journal now, whatever it is called; 0 if nothing does."""
    sizes = [path.stat().st_size for path in (data / "journal").rglob("*") if path.is_file()]
    return sum(sizes) // len(sizes) if sizes else 0


def synced_writes(work, size, seconds=2.0):
    """Times of one thread that writes a file of `size` bytes, syncs it and its directory: the least that a durable
    acknowledgement costs."""
    place, data, times = pathlib.Path(tempfile.mkdtemp(prefix="probe-", dir=work)), os.urandom(size), []
    directory, stop = os.open(place, os.O_RDONLY), time.perf_counter() + seconds
    try:
        while time.perf_counter() < stop:
            start = time.perf_counter()
            one = os.open(place / str(len(times)), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(one, data)
            os.fsync(one)
            os.close(one)
            os.fsync(directory)
            times.append(time.perf_counter() - start)
    finally:
        os.close(directory)
        shutil.rmtree(place, ignore_errors=True)
    return times
