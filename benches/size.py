#!/usr/bin/env python3
"""Bytes per call in the ledger, against the same rows and columns in an embedded ClickHouse (chdb).

usage: benches/size.py [--calls 200000] [--demo]
--demo takes the 50,000 calls of `serve --demo` instead of those of a mix made here.
POLYMETER_BIN names the binary (default: the release build); chdb is taken from target/testenv/clickhouse.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys

from serving import binary, demo_store, folder, testenv

DAY = 1_772_409_600  # 2026-03-02T00:00:00Z
SPAN_S = 48 * 3600
CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-20250514-v1:0", "amazon.nova-lite-v1:0"
ROLES = ["checkout-api", "search-api", "support-agent", "catalog-batch", "fraud-scoring"]
RESOURCE = "/SUBSCRIPTIONS/0A0A0A0A-1B1B-2C2C-3D3D-4E4E4E4E4E4E/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AI-"


def stamp(second, digits=""):
    day, rest = divmod(int(second), 86_400)
    return f"2026-03-{2 + day:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}{digits}Z"


def uuid(rng):
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def tokens(rng):
    """(all input, of it from a cache, output), spread as real calls are."""
    size = min(120_000, int(rng.lognormvariate(7, 1.1)) + 8)
    return size, rng.choice((0, 0, size * 3 // 5)), min(8000, int(rng.lognormvariate(5, 1.0)) + 1)


def bedrock(rng, second):
    size, read, out = tokens(rng)
    duration = int(rng.lognormvariate(7.6, 0.7))
    usage = {"inputTokens": size - read, "outputTokens": out, "totalTokens": size + out, "cacheReadInputTokens": read}
    stop = rng.choice(("end_turn", "end_turn", "tool_use", "max_tokens"))
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "yes"}]}}, "stopReason": stop, "metrics": {"latencyMs": duration}, "usage": usage}
    role = rng.choice(ROLES)
    record = {"timestamp": stamp(second), "accountId": "111122223333", "region": rng.choice(("us-east-1", "us-east-1", "us-west-2"))}
    record |= {"requestId": uuid(rng), "operation": rng.choice(("Converse", "ConverseStream")), "modelId": rng.choice((CLAUDE, CLAUDE, NOVA))}
    record |= {"identity": {"arn": f"arn:aws:sts::111122223333:assumed-role/{role}/i-{rng.randrange(40):017x}"}}
    record |= {"input": {"inputContentType": "application/json", "inputTokenCount": size - read, "cacheReadInputTokenCount": read, "cacheWriteInputTokenCount": 0}}
    record |= {"output": {"outputContentType": "application/json", "outputBodyJson": answer, "outputTokenCount": out}}
    return [record | {"schemaType": "ModelInvocationLog", "schemaVersion": "1.0"}]


def azure(rng, second):
    """A request's row and its usage row: one call."""
    size, read, out = tokens(rng)
    duration, fraction = int(rng.lognormvariate(7.2, 0.6)), f".{rng.randrange(10_000_000):07d}"
    ticks = 621_355_968_000_000_000 + int((DAY + second) * 10_000_000)
    place = rng.choice(("EAST", "SWEDEN"))
    deployment = rng.choice(("gpt-4o", "gpt-4o", "gpt-4o-mini"))
    version = {"gpt-4o": "2024-11-20", "gpt-4o-mini": "2024-07-18"}[deployment]
    shared = {"streamType": rng.choice(("Streaming", "Non-Streaming")), "modelDeploymentName": deployment, "modelName": deployment, "modelVersion": version}
    times = {"requestTime": ticks, "requestLength": size * 4, "responseTime": ticks + duration * 10_000, "responseLength": out * 4, "objectId": ""}
    common = {"resourceId": RESOURCE + place, "location": {"EAST": "eastus", "SWEDEN": "swedencentral"}[place], "correlationId": uuid(rng)}
    common |= {"operationName": "ChatCompletions_Create", "time": stamp(second, fraction)}
    call = {"category": "RequestResponse", "event": "ShoeboxCallResult", "durationMs": duration, "resultSignature": "200", **common}
    call["properties"] = json.dumps({"apiName": "Azure OpenAI API version 2024-10-21", **times, **shared})
    counted = {"category": "AzureOpenAIRequestUsage", "event": "ShoeboxAzureOpenAIRequestUsage", **common}
    counted["properties"] = json.dumps({**shared, "promptTokens": [size], "cachedTokens": [read], "generatedTokens": [out]})
    return [call, counted]


def otlp(rng, second):
    """A request of one span, as an SDK's instrumentation makes it."""
    size, read, out = tokens(rng)
    start = int((DAY + second) * 1e6) * 1000
    model, answered = rng.choice((("gpt-4o", "gpt-4o-2024-11-20"), ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")))
    texts = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model, "gen_ai.response.model": answered}
    texts |= {"gen_ai.response.id": f"chatcmpl-{rng.getrandbits(128):032x}", "server.address": "api.openai.com", "user.id": f"u-{rng.randrange(5000)}"}
    texts |= {"session.id": uuid(rng) if rng.random() < 0.3 else "batch", "team": rng.choice(("search", "support", "growth")), "feature": rng.choice(("rerank", "summary", "chat"))}
    counts = {"gen_ai.usage.input_tokens": size, "gen_ai.usage.output_tokens": out, "gen_ai.usage.cache_read.input_tokens": read}
    text = lambda key, value: {"key": key, "value": {"stringValue": value}}
    attributes = [text(*one) for one in texts.items()] + [{"key": key, "value": {"intValue": str(value)}} for key, value in counts.items()]
    span = {"traceId": f"{rng.getrandbits(128):032x}", "spanId": f"{rng.getrandbits(64):016x}", "name": f"chat {model}", "kind": 3}
    span |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + int(rng.lognormvariate(21, 0.6))), "attributes": attributes}
    owner = [text("service.name", rng.choice(ROLES)), text("deployment.environment.name", "production")]
    scope = {"scope": {"name": "opentelemetry.instrumentation.openai_v2"}, "spans": [span]}
    return [{"resourceSpans": [{"resource": {"attributes": owner}, "scopeSpans": [scope]}]}]


def made_store(data, work, calls):
    """45 % Bedrock, 30 % Azure, 25 % OTLP over two days, each kind by one import; the number of calls made."""
    rng, made = random.Random(20_260_302), 0
    for kind, make, share in (("bedrock", bedrock, 0.45), ("azure", azure, 0.30), ("otlp", otlp, 0.25)):
        number = int(calls * share)
        seconds = sorted(rng.uniform(0, SPAN_S) for _ in range(number))
        lines = (json.dumps(record) for second in seconds for record in make(rng, second))
        path = work / f"{kind}.json.gz"
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 1))
        subprocess.run([binary(), "import", kind, path, "--data", data], check=True, capture_output=True)
        path.unlink()
        made += number
    return made


# Runs in the environment that has chdb and deltalake: reads the ledger through its log, prints one JSON object.
CLICKHOUSE = """
import json, sys
from chdb.session import Session
from deltalake import DeltaTable

table, place = sys.argv[1:]
sizes = lambda path: DeltaTable(path).get_add_actions(flatten=True)["size_bytes"].to_pylist()
found = {"files": len(sizes(table)), "ledger": sum(sizes(table)), "archive": sum(sizes(table.rsplit("/", 1)[0] + "/observations"))}
session = Session(place)
rows = lambda sql: [json.loads(line) for line in str(session.query(sql, "JSONEachRow")).splitlines()]
source = "deltaLakeLocal('" + table + "')"
columns = [(one["name"], one["type"]) for one in rows("DESCRIBE TABLE " + source)]
found["columns"] = len(columns)

def size(name, definitions):
    session.query("CREATE TABLE " + name + " (" + ", ".join(definitions) + ") ENGINE = MergeTree ORDER BY ts SETTINGS allow_nullable_key = 1")
    session.query("INSERT INTO " + name + " SELECT * FROM " + source)
    session.query("OPTIMIZE TABLE " + name + " FINAL")
    (one,) = rows("SELECT sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM system.parts WHERE active AND table = '" + name + "'")
    found["rows"] = int(one["rows"])
    return int(one["bytes"])

found["plain"] = size("plain", [f"`{name}` {kind}" for name, kind in columns])
found["zstd"] = size("zstd", [f"`{name}` {kind} CODEC(ZSTD(1))" for name, kind in columns])
texts = [name for name, kind in columns if kind in ("String", "Nullable(String)")]
(few,) = rows("SELECT " + ", ".join(f"uniqExact(`{name}`) < 10000 AS `{name}`" for name in texts) + " FROM plain")
low = lambda name, kind: f"LowCardinality({kind})" if int(few.get(name, 0)) else kind
found["tuned"] = size("tuned", [f"`{name}` {low(name, kind)} CODEC(ZSTD(1))" for name, kind in columns])
print(json.dumps(found))
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--calls", type=int, default=200_000)
    arguments.add_argument("--demo", action="store_true")
    given = arguments.parse_args()
    python = testenv("clickhouse")
    if python is None:
        print("size: skipped: chdb not installed, `tests/full/run readers` installs it")
        return
    with folder() as work:
        data = work / "data"
        made = demo_store(data, work) if given.demo else made_store(data, work, given.calls)
        done = subprocess.run([python, "-c", CLICKHOUSE, str(data / "calls"), str(work / "clickhouse")], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"ClickHouse did not take the ledger in:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    rows, ledger = found["rows"], found["ledger"]
    if not given.demo and rows != made:
        sys.exit(f"the ledger has {rows} rows for {made} calls: sizes mean nothing")
    each = lambda name: found[name] / max(1, rows)
    print(f"# {rows} calls of {found['columns']} columns; ledger {ledger / 1e6:.2f} MB in {found['files']} active files, {each('ledger'):.1f} bytes a call; archive {each('archive'):.1f} bytes a call")
    print(f"# MergeTree ORDER BY ts, one part: defaults {each('plain'):.1f} bytes a call, ZSTD(1) {each('zstd'):.1f}, ZSTD(1) and LowCardinality where it pays {each('tuned'):.1f}")
    ratio = lambda name: f"{ledger / found[name]:.2f}"
    print(f"size: {each('ledger'):.1f} bytes a call; {ratio('plain')} times ClickHouse by default, {ratio('zstd')} times with ZSTD(1), {ratio('tuned')} times with ZSTD(1) and LowCardinality   [{binary()}]")


main()
