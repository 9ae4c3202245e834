"""A prefix of 100,000 objects (moto): what a look costs when there is nothing new, and what it takes in memory."""

import collections
import datetime
import gzip
import json
import logging
import os
import re
import time

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from harness import Polymeter, bedrock_record, check, equal, folder, free_port, until

OBJECTS = 100_000
ACCOUNT, REGION = "111122223333", "us-east-1"


class Requests(logging.Handler):
    """Counts the requests that moto's server logs."""

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def emit(self, record):
        found = re.search(r'"(GET|HEAD|POST|PUT) (\S*)', record.getMessage())
        if found:
            self.counts["list" if "list-type" in found.group(2) else found.group(1)] += 1


def seed(backend):
    """A third of the objects are logs of one call, the others sidecars, spread over the hours up to now."""
    base = f"AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/{REGION}"
    now, calls = datetime.datetime.now(datetime.timezone.utc), 0
    for n in range(OBJECTS):
        at = now - datetime.timedelta(minutes=n)
        hour = f"{base}/{at:%Y/%m/%d/%H}"
        if n % 3:
            backend.put_object("many", f"{hour}/data/{n:08d}_input.json.gz", b"x")
            continue
        record, _ = bedrock_record(n)
        record["timestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        key = f"{hour}/{at:%Y%m%dT%H%M%S}000Z_{n:016x}.json.gz"
        backend.put_object("many", key, gzip.compress(json.dumps(record).encode(), 1))
        calls += 1
    return calls


def quiet(requests):
    """Waits until nothing is read any more."""
    for _ in range(20):
        requests.counts.clear()
        time.sleep(3)
        if not requests.counts["GET"]:
            return


def main():
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    log, requests = logging.getLogger("werkzeug"), Requests()
    log.setLevel(logging.INFO)
    log.handlers, log.propagate = [requests], False
    server.start()
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket("many", REGION)
    calls = seed(backend)
    with folder() as work:
        config = work / "many.toml"
        config.write_text('[[source]]\nname = "many"\nkind = "bedrock"\nlocation = "s3://many/"\npoll_interval_s = 1\n')
        with Polymeter(work / "data", work, env, config) as meter:
            began = time.monotonic()
            count = "SELECT count(*) FROM calls"
            took = until(lambda: meter.one(count)[0] == calls, 780, 1)
            equal(f"{calls} log objects among {OBJECTS} are read", meter.one(count), (calls,), f"{took or 0:.0f} s")
            quiet(requests)
            first = meter.memory()
            requests.counts.clear()
            start = time.monotonic()
            time.sleep(30)
            seconds, found = time.monotonic() - start, dict(requests.counts)
            rounds = found.get("list", 0)
            check(
                "the steady state asks once a look",
                set(found) == {"list"} and rounds <= seconds + 3,
                f"{found} in {seconds:.0f} s with a look a second: {60 * rounds / seconds:.0f} requests a minute; "
                f"at the default of one look a minute that is 1",
            )
            check("and its memory stays flat", meter.memory() <= first * 1.1 + 20, f"{first} MiB, then {meter.memory()} MiB")
    server.stop()


main()
