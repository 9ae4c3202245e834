"""Replicas on one bucket (moto): two take OTLP in, a third settles, a fourth answers queries and takes the settling over
when the third is killed. Totals are exact at the end on all of them, and never too high on the way."""

import itertools
import json
import os
import random
import threading
import time
import urllib.request

import boto3

from harness import HTTP, Polymeter, check, equal, folder, moto, polymeter, until

PLACE = "s3://polymeter-replicas/store"
TOTALS = "SELECT count(*) AS n, count(DISTINCT span_id) AS spans, coalesce(sum(input_tokens), 0) AS i FROM calls"
TOKENS = 100
SENDERS, BATCH, PAUSE_S, HOT_S = 3, 10, 0.15, 15
PHASE_S = 25
LATE_NS = 2 * 3600 * 1_000_000_000


def settings(work, writer, role):
    path = work / f"{writer}.toml"
    path.write_text(f'writer = "{writer}"\n[settle]\nrole = "{role}"\ninterval_s = 2\nhot_s = {HOT_S}\n')
    return path


def span(n, now, inner=False):
    """Call `n` as its client saw it, or as the library below that client did: one call, by trace and response id."""
    text = lambda key, value: {"key": key, "value": {"stringValue": value}}
    count = lambda key, value: {"key": key, "value": {"intValue": str(value)}}
    outer = f"{2 * n + 1:016x}"
    return {
        "traceId": f"{n + 1:032x}",
        "spanId": f"{2 * n + 2:016x}" if inner else outer,
        "parentSpanId": outer if inner else "",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(now - 1_000_000_000 + inner),
        "endTimeUnixNano": str(now - inner),
        "attributes": [
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "gpt-4o"),
            text("gen_ai.response.id", f"chatcmpl-{n:012d}"),
            count("gen_ai.usage.input_tokens", TOKENS),
            count("gen_ai.usage.output_tokens", 10),
        ],
    }


def request(spans):
    scope = {"scope": {"name": "opentelemetry.instrumentation.openai_v2"}, "spans": spans}
    owner = {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]}
    return json.dumps({"resourceSpans": [{"resource": owner, "scopeSpans": [scope]}]}).encode()


class Load:
    """Clients of the two ingesting replicas. What is not acknowledged is sent again, the same bytes."""

    def __init__(self, meters):
        self.urls = [f"{meter.otlp_http}/v1/traces" for meter in meters]
        self.lock, self.begun, self.batches, self.retries = threading.Lock(), 0, 0, 0
        self.numbers, self.stop, self.owed = itertools.count(), threading.Event(), []
        self.threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(SENDERS * len(meters))]
        for thread in self.threads:
            thread.start()

    def post(self, to, body):
        while True:
            try:
                one = urllib.request.Request(self.urls[to], body, {"content-type": "application/json"})
                with HTTP.open(one, timeout=30) as answer:
                    if answer.status == 200:
                        self.batches += 1
                        return
            except OSError:
                self.retries += 1
                time.sleep(0.2)

    def work(self, number):
        rng, to = random.Random(number), number % len(self.urls)
        while not self.stop.is_set():
            with self.lock:
                numbers = [next(self.numbers) for _ in range(BATCH)]
                self.begun += BATCH
            # One batch in eight tells of calls of two hours ago: their slices of the ledger are written again.
            now = time.time_ns() - (LATE_NS if rng.random() < 1 / 8 else 0)
            body = request([span(n, now) for n in numbers])
            self.post(to, body)
            other, luck = 1 - to, rng.random()
            if luck < 0.15:
                self.post(other, body)
            elif luck < 0.45:
                # The second witness goes to the other replica, at once or when the call has been settled long ago.
                due = time.monotonic() + rng.choice((0, 0, HOT_S + 10))
                self.owed.append((due, other, request([span(n, now, inner=True) for n in numbers])))
            self.pay(time.monotonic())
            time.sleep(PAUSE_S)

    def pay(self, now):
        with self.lock:
            due, self.owed = [one for one in self.owed if one[0] <= now], [one for one in self.owed if one[0] > now]
        for _, to, body in due:
            self.post(to, body)

    def end(self):
        """Calls sent, when all are acknowledged."""
        self.stop.set()
        for thread in self.threads:
            thread.join(120)
        self.pay(float("inf"))
        return self.begun


class Watch:
    """Asks a replica for totals in a loop and notes every answer that can't be."""

    def __init__(self, meter, load):
        self.meter, self.load, self.stop = meter, load, threading.Event()
        self.asked, self.wrong, self.errors, self.highest = 0, [], [], 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stop.is_set():
            try:
                n, spans, tokens = self.meter.one(TOTALS)
            except (OSError, RuntimeError) as error:
                self.errors.append(str(error)[:200])
                time.sleep(0.5)
                continue
            begun, self.asked = self.load.begun, self.asked + 1
            if n > begun or n != spans or tokens != n * TOKENS or n < self.highest:
                self.wrong.append({"calls": n, "spans": spans, "tokens": tokens, "sent": begun, "before": self.highest})
            self.highest = max(self.highest, n)
            time.sleep(0.05)

    def end(self):
        self.stop.set()
        self.thread.join(60)


def settles(meter):
    """Successful settles of a process."""
    with HTTP.open(f"http://{meter.http}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith('polymeter_settles_total{result="ok"}'))


def horizon(meter):
    """The instant before which the ledger answers, seconds."""
    with HTTP.open(f"http://{meter.http}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("polymeter_horizon_timestamp_seconds "))


def before_horizon(meter):
    """What the ledger must hold: (calls, span ids)."""
    calls = meter.one(f"SELECT count(*) AS n, count(DISTINCT span_id) AS s FROM calls WHERE ts < to_timestamp({horizon(meter)})")
    return tuple(calls)


def by_deltalake():
    """The ledger alone, read by another engine: (calls, span ids)."""
    from deltalake import DeltaTable, QueryBuilder

    table = DeltaTable(f"{PLACE}/calls", storage_options={"aws_conditional_put": "etag"})
    answer = QueryBuilder().register("ledger", table).execute("SELECT count(*), count(DISTINCT span_id) FROM ledger").read_all()
    value = lambda column: getattr(answer.column(column)[0], "as_py", lambda: answer.column(column)[0])()
    return value(0), value(1)


def same(name, meter, wanted, seconds=60):
    """A check that a replica comes to these totals and stays there."""
    took = until(lambda: meter.one(TOTALS) == wanted, seconds, 0.3)
    time.sleep(1)
    return equal(f"totals are exact on {name}", meter.one(TOTALS), wanted, f"{wanted[0]} calls, after {took or 0:.1f} s")


def run(work, env):
    start = lambda writer, role: Polymeter(PLACE, work, env, settings(work, writer, role))
    with start("settler", "auto") as settler, start("left", "never") as left, start("right", "never") as right:
        if not check("the third one settles", until(lambda: settles(settler) > 0, 30, 0.2) is not None):
            return
        with start("reader", "auto") as reader:
            load = Load([left, right])
            watch = Watch(reader, load)
            time.sleep(PHASE_S)
            check("the querying replica shows calls of both on the way", watch.highest > 0, f"{watch.highest} of {load.begun} sent")
            check("replicas that must never settle don't", settles(left) + settles(right) == 0)
            settler.kill()
            before = settles(reader)
            took = until(lambda: settles(reader) > before, 90, 0.1)
            waited = f"it settled {took:.1f} s later" if took is not None else "not within 90 s"
            check("after kill -9 of the settler another takes the role", took is not None, waited)
            time.sleep(PHASE_S)
            sent = load.end()
            wanted = (sent, sent, sent * TOKENS)
            with start("settler", "auto") as again:
                for name, meter in (("the reader", reader), ("the left", left), ("the right", right), ("the settler started again", again)):
                    same(name, meter, wanted)
            watch.end()
            check("no answer on the way was impossible", not watch.wrong, f"{watch.asked} answers, {len(watch.wrong)} wrong: {watch.wrong[:3]}")
            check("and none was an error", not watch.errors, f"{len(watch.errors)}: {watch.errors[:2]}")
            check("nothing had to be sent twice for want of an answer", load.retries == 0, f"{load.batches} batches, {load.retries} retries")
            # The horizon stands on the edge of a slice of ten minutes; what is newer is in no table yet.
            until(lambda: by_deltalake() == before_horizon(reader), 60, 1)
            alone = by_deltalake()
            equal("the ledger alone has every call before the horizon once", alone, before_horizon(reader), f"{alone[0]} of {sent}")
            check("and that is something to see", alone[0] > 0, f"{alone[0]} calls")
            found = json.loads(polymeter("sql", TOTALS, "--data", PLACE, "--format", "json", env=env))
            equal("`polymeter sql` agrees", tuple(found[0].values()), wanted)


def main():
    with folder() as work, moto(work) as env:
        os.environ.update(env)
        boto3.client("s3").create_bucket(Bucket="polymeter-replicas")
        run(work, env)


main()
