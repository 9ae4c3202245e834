"""What the parts share: a polymeter process, test servers, made-up log records, and one line for each check."""

import contextlib
import datetime
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BIN = os.environ["POLYMETER_BIN"]
ENV = pathlib.Path(os.environ["POLYMETER_TESTENV"])
PART = pathlib.Path(sys.argv[0]).stem
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
KEEP = bool(os.environ.get("POLYMETER_KEEP"))
# A part that takes too long is ended with SIGTERM: what it started must end too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def check(what, right, detail=""):
    """Prints the one line of a check."""
    detail = f" ({detail})" if detail != "" else ""
    print(f"{'ok' if right else 'FAILED'} {PART}: {what}{detail}", flush=True)
    return right


def equal(what, found, wanted, note=""):
    """A check that two values are the same; tells both when they are not."""
    right = found == wanted
    return check(what, right, note if right else f"found {found}, wanted {wanted}")


def until(condition, seconds, pause=0.02):
    """Seconds until `condition()` holds, or None if it does not within `seconds`."""
    start = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            return None
        time.sleep(pause)


@contextlib.contextmanager
def folder():
    """A temporary folder; POLYMETER_KEEP=1 keeps it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="polymeter-full-"))
    try:
        yield path
    finally:
        if KEEP:
            print(f"# kept {path}", file=sys.stderr)
        else:
            shutil.rmtree(path, ignore_errors=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(url):
    try:
        HTTP.open(url, timeout=2).close()
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def end(process, seconds=30):
    """Ends a process that we started, with all its children; True if it ended when asked to."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    return True


@contextlib.contextmanager
def server(command, ready, log, seconds=90, env=None):
    """Runs a test server until the block ends."""
    with open(log, "wb") as out:
        child = subprocess.Popen(
            [str(word) for word in command], stdout=out, stderr=out, env={**os.environ, **(env or {})}, start_new_session=True
        )
    try:
        if until(lambda: child.poll() is not None or ready(), seconds, 0.1) is None or child.poll() is not None:
            sys.exit(f"{command[0]} did not come up:\n{pathlib.Path(log).read_text()[-3000:]}")
        yield child
    finally:
        end(child, 10)


@contextlib.contextmanager
def moto(work):
    """An AWS stand-in; yields the environment that makes clients use it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [ENV / "clients/bin/moto_server", "-H", "127.0.0.1", "-p", port]
    with server(command, lambda: answers(f"{url}/moto-api/"), work / "moto.log"):
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextlib.contextmanager
def azurite(work):
    """An Azure Blob stand-in; yields its URL."""
    port = free_port()
    command = ["node", ENV / "npm/node_modules/.bin/azurite-blob", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--disableProductStyleUrl", "--location", work / "azurite", "--blobHost", "127.0.0.1", "--blobPort", port]
    url = f"http://127.0.0.1:{port}"
    with server(command, lambda: answers(url), work / "azurite.log"):
        yield url


class Polymeter:
    """A serving polymeter on free loopback ports."""

    def __init__(self, data, work, env=None, config=None, token=None, more=()):
        self.data, self.env, self.token = str(data), {**os.environ, **(env or {})}, token
        self.log = pathlib.Path(tempfile.mkstemp(prefix="serve-", suffix=".log", dir=work)[1])
        command = [BIN, "serve", "--data", self.data]
        for option in ("--http", "--pg", "--otlp-grpc", "--otlp-http"):
            command += [option, "127.0.0.1:0"]
        if config:
            command += ["--config", str(config)]
        command += more
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=self.env, start_new_session=True)
        ready = lambda: self.process.poll() is not None or b"polymeter sql" in self.log.read_bytes()
        if until(ready, 120) is None or self.process.poll() is not None:
            end(self.process)
            raise RuntimeError(f"polymeter did not start:\n{self.log.read_text()[-3000:]}")
        text = self.log.read_text()
        address = lambda name: re.search(rf"{name}\s+http://(\S+)", text).group(1)
        self.pg = re.search(r"postgresql://([^/]+)/", text).group(1)
        self.http, self.grpc, self.otlp_http = address("HTTP API"), address("OTLP/gRPC"), f"http://{address('OTLP/HTTP')}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if KEEP:
            print(self.log.read_text(), file=sys.stderr)

    def sql(self, statement, *params):
        body = json.dumps({"sql": statement, "params": list(params)}).encode()
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {self.token}"} if self.token else {})}
        request = urllib.request.Request(f"http://{self.http}/api/v1/sql", body, headers)
        try:
            with HTTP.open(request, timeout=60) as answer:
                return json.load(answer)["rows"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.code} {error.read().decode()}") from error

    def one(self, statement, *params):
        """The only row as a tuple."""
        (row,) = self.sql(statement, *params)
        return tuple(row.values())

    def memory(self, line="VmRSS"):
        """MiB of now, or the most it ever had (`VmHWM`)."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{line}:\s+(\d+)", status).group(1)) // 1024

    def stop(self):
        """SIGTERM; True if it ended by itself with exit code 0."""
        return end(self.process) and self.process.returncode == 0

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def source_of(meter, name):
    with HTTP.open(f"http://{meter.http}/api/v1/sources") as answer:
        return json.load(answer)["sources"].get(name, {})


def polymeter(*words, env=None, seconds=300):
    """Runs a command of polymeter; its standard output."""
    done = subprocess.run(
        [BIN, *map(str, words)], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"polymeter {words[0]} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def summary(*words, env=None):
    """Runs an import; its summary."""
    return json.loads(polymeter("import", *words, env=env).splitlines()[-1])


# --- made-up records in the clouds' own formats -------------------------------------------------------------------

MODELS = [
    "anthropic.claude-sonnet-4-20250514-v1:0",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "amazon.nova-lite-v1:0",
    "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-70b-instruct-v1:0",
]
ROLES = ["checkout-api", "search-api", "nightly"]
ACCOUNT, REGION = "111122223333", "us-east-1"


def bedrock_record(n):
    """A Converse call at a fixed time in the past; its tokens follow from `n`."""
    fresh, read, out = 100 + n % 900, (n % 3) * 50, 10 + n % 90
    usage = {"inputTokens": fresh, "outputTokens": out, "totalTokens": fresh + read + out, "cacheReadInputTokens": read}
    record = {
        "timestamp": f"2026-03-{2 + n // 5000:02d}T{n // 360 % 24:02d}:{n // 6 % 60:02d}:{n % 6 * 10:02d}Z",
        "accountId": ACCOUNT,
        "region": "us-east-1",
        "requestId": f"5e11ab1e-0000-4000-8000-{n:012d}",
        "operation": "Converse",
        "modelId": MODELS[n % len(MODELS)],
        "identity": {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLES[n // 7 % 3]}/i-0a1b2c"},
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": {"messages": [{"role": "user", "content": [{"text": "a question"}]}]},
            "inputTokenCount": fresh,
            "cacheReadInputTokenCount": read,
            "cacheWriteInputTokenCount": 0,
        },
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": {
                "output": {"message": {"role": "assistant", "content": [{"text": "an answer"}]}},
                "stopReason": "end_turn",
                "metrics": {"latencyMs": 300 + n % 700},
                "usage": usage,
            },
            "outputTokenCount": out,
        },
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
    }
    return record, (1, fresh + read, read, out)


def bedrock_objects(records, files, prefix=""):
    """Log objects in AWS's key layout with sidecars and the permission check, and the true totals."""
    objects, totals = {}, (0, 0, 0, 0)
    base = f"{prefix}AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs"
    for file in range(files):
        lines = []
        for n in range(file, records, files):
            record, counts = bedrock_record(n)
            lines.append(json.dumps(record))
            totals = tuple(a + b for a, b in zip(totals, counts))
        hour = f"{base}/us-east-1/2026/03/02/{file % 24:02d}"
        name = f"20260302T{file % 24:02d}{file // 24:02d}00123Z_{file:016x}"
        objects[f"{hour}/{name}.json.gz"] = gzip.compress(("\n".join(lines) + "\n").encode())
        body = gzip.compress(b'{"messages":[{"role":"user","content":[{"text":"a long question"}]}]}')
        objects[f"{hour}/data/5e11ab1e-0000-4000-8000-{file:012d}_input.json.gz"] = body
    objects[f"{base}/amazon-bedrock-logs-permission-check"] = b""
    objects[f"{base}/us-east-1/2026/03/02/00/data/amazon-bedrock-logs-permission-check"] = b""
    return objects, totals


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def record_at(n, at):
    """A record of now, its line, and its counts."""
    record, counts = bedrock_record(n)
    record["timestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(record), counts


def put_log(client, bucket, first, last, at=None, prefix="llm/"):
    """A log object with some calls where AWS would write it; its key and its totals."""
    at = at or now()
    lines, sums = [], (0, 0, 0, 0)
    for n in range(first, last):
        line, counts = record_at(n, at)
        lines.append(line)
        sums = tuple(a + b for a, b in zip(sums, counts))
    hour = at.strftime("%Y/%m/%d/%H")
    key = f"{prefix}AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/{REGION}/{hour}/{at:%Y%m%dT%H%M%S}{first % 1000:03d}Z_{first:016x}.json.gz"
    client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(("\n".join(lines) + "\n").encode()))
    return key, sums


def add(*all):
    return tuple(sum(column) for column in zip(*all))


RESOURCE = "/SUBSCRIPTIONS/0A0A0A0A-1B1B-2C2C-3D3D-4E4E4E4E4E4E/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AI-EAST"
BLOB = f"resourceId={RESOURCE}/y=2026/m=03/d=02/h=10/m=00/PT1H.json"


def azure_lines(n):
    """A request as Azure writes it: a RequestResponse row with its counts, and the usage row. One call."""
    prompt, out, cached = 200 + n % 800, 20 + n % 80, (n % 2) * 128
    stamp = f"2026-03-02T10:{n // 60 % 60:02d}:{n % 60:02d}.5000000Z"
    begin = 639_080_424_000_000_000 + n * 10_000_000  # .NET ticks of 2026-03-02T10:00:00Z and n seconds
    common = {
        "resourceId": RESOURCE,
        "location": "eastus",
        "correlationId": f"aaaaaaaa-0000-4000-8000-{n:012d}",
        "operationName": "ChatCompletions_Create",
    }
    shared = {"streamType": "Non-Streaming", "modelDeploymentName": "gpt-4o", "modelName": "gpt-4o", "modelVersion": "2024-11-20"}
    detail = {"requestTime": begin, "requestLength": 800, "responseTime": begin + 9_000_000, "responseLength": 500}
    rows = [
        {
            "EnqueueTime": stamp.rstrip("Z"),
            "time": stamp,
            "category": "RequestResponse",
            "event": "ShoeboxCallResult",
            "durationMs": 900,
            "resultSignature": "200",
            **common,
            "properties": json.dumps({"apiName": "Azure OpenAI API version 2024-10-21", **detail, "objectId": "", **shared}),
        },
        {
            "time": stamp,
            "category": "AzureOpenAIRequestUsage",
            "event": "ShoeboxAzureOpenAIRequestUsage",
            **common,
            "properties": json.dumps({**shared, "promptTokens": [prompt], "cachedTokens": [cached], "generatedTokens": [out]}),
        },
    ]
    return [json.dumps(row) + "\n" for row in rows], (1, prompt, cached, out)


TOTALS = (
    "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(cache_read_tokens), 0), coalesce(sum(output_tokens), 0)"
    " FROM calls"
)


def totals(data, env=None):
    """Totals of a store, by `polymeter sql`."""
    (row,) = json.loads(polymeter("sql", TOTALS, "--data", data, "--format", "json", env=env))
    return tuple(row.values())
