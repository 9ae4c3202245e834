#!/usr/bin/env python3
"""Rate of `polymeter import bedrock` against `zcat | wc -l` and DuckDB's `read_json` on the same files.

usage: benches/bedrock_import.py [--mb 200] [--files 100] [--runs 3] [--where target/bench]
POLYMETER_BIN names the binary (default: the release build); DuckDB is taken from target/testenv/duckdb.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from serving import ROOT, binary, testenv

ACCOUNT = "111122223333"
MODELS = [
    ("anthropic.claude-sonnet-4-20250514-v1:0", True),
    ("us.anthropic.claude-haiku-4-5-20251001-v1:0", True),
    ("amazon.nova-lite-v1:0", False),
    ("meta.llama3-1-70b-instruct-v1:0", False),
]
WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you"
    " were all her she there would their we him been has when who will no more if out so up said what its about than into them"
    " can only other time new some could these two may first then do any like my now over such our man me even most made after"
    " order customer parcel refund invoice delivery warehouse address payment account password contract tent stove jacket boots"
).split()


def paragraphs(rng, number):
    """Text that gzip shrinks about as it shrinks prose."""
    return [" ".join(rng.choices(WORDS, k=rng.randint(40, 120))) + f" {rng.getrandbits(48):x}." for _ in range(number)]


def record(rng, texts, n, second):
    """One call of a second of the day, with a history of a few KB and an answer: Converse, or Claude's own body."""
    model, claude = MODELS[rng.randrange(len(MODELS))]
    turns = [{"role": ("user", "assistant")[k % 2], "text": " ".join(rng.choices(texts, k=rng.randint(1, 4)))} for k in range(rng.choice((1, 1, 3, 5)))]
    fresh, read, out = rng.randint(100, 6000), rng.choice((0, 0, 2048)), rng.randint(20, 900)
    answer, latency = " ".join(rng.choices(texts, k=rng.randint(1, 3))), rng.randint(300, 9000)
    if claude and n % 3 == 0:
        operation = "InvokeModel"
        sent = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 4096, "messages": [{"role": t["role"], "content": t["text"]} for t in turns]}
        usage = {"input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": 0, "output_tokens": out}
        got = {"id": f"msg_bdrk_{n:024d}", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn"}
        got |= {"content": [{"type": "text", "text": answer}], "usage": usage}
    else:
        operation = "ConverseStream" if n % 2 else "Converse"
        sent = {"messages": [{"role": t["role"], "content": [{"text": t["text"]}]} for t in turns], "inferenceConfig": {"maxTokens": 2048}}
        usage = {"inputTokens": fresh, "outputTokens": out, "totalTokens": fresh + read + out, "cacheReadInputTokens": read}
        got = {"output": {"message": {"role": "assistant", "content": [{"text": answer}]}}, "stopReason": "end_turn"}
        got |= {"metrics": {"latencyMs": latency}, "usage": usage}
    return {
        "timestamp": f"2026-03-02T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
        "accountId": ACCOUNT,
        "region": "us-east-1",
        "requestId": f"5e11ab1e-0000-4000-8000-{n:012d}",
        "operation": operation,
        "modelId": model,
        "identity": {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{rng.choice(('checkout', 'search', 'support'))}-api/i-0a1b2c"},
        "input": {"inputContentType": "application/json", "inputBodyJson": sent, "inputTokenCount": fresh, "cacheReadInputTokenCount": read, "cacheWriteInputTokenCount": 0},
        "output": {"outputContentType": "application/json", "outputBodyJson": got, "outputTokenCount": out},
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
    }


def generate(folder, megabytes, files):
    """The same log objects for the same arguments, made once; `sizes.json` beside them tells what they hold."""
    note = folder / "sizes.json"
    if note.exists():
        return json.loads(note.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    sizes = {"records": 0, "bytes": 0, "stored": 0, "input": 0, "output": 0}
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as workers:
        each = [(folder, file, files, megabytes * 1_000_000 / files) for file in range(files)]
        for one in workers.map(write_object, each, chunksize=4):
            sizes = {name: sizes[name] + one[name] for name in sizes}
    note.write_text(json.dumps(sizes))
    return sizes


TEXTS = paragraphs(random.Random(20_260_302), 4000)


def write_object(given):
    """One object with the calls of its share of the day, and what it holds."""
    folder, file, files, most = given
    start, span = file * 86_400 // files, -(-86_400 // files)
    rng, lines = random.Random(file), []
    sizes = {"records": 0, "bytes": 0, "stored": 0, "input": 0, "output": 0}
    while sizes["bytes"] < most:
        second = min(86_399, start + sizes["records"] % span)
        one = record(rng, TEXTS, file * 100_000 + sizes["records"], second)
        lines.append(json.dumps(one, separators=(",", ":")))
        sizes["bytes"] += len(lines[-1]) + 1
        sizes["input"] += one["input"]["inputTokenCount"] + one["input"]["cacheReadInputTokenCount"]
        sizes["output"] += one["output"]["outputTokenCount"]
        sizes["records"] += 1
    path = folder / f"AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/us-east-1/2026/03/02/{start // 3600:02d}"
    path.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(("\n".join(lines) + "\n").encode(), 6)
    (path / f"20260302T{start // 3600:02d}{start // 60 % 60:02d}{start % 60:02d}123Z_{file:016x}.json.gz").write_bytes(packed)
    sizes["stored"] = len(packed)
    return sizes


def timed_import(binary, logs, sizes):
    """Wall-clock time of one import into a new store and its peak memory; its totals must be right, or the time means nothing."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=logs.parent) as work:
        start = time.perf_counter()
        with open(f"{work}/out", "w+") as out:
            child = subprocess.Popen([binary, "import", "bedrock", logs / "AWSLogs", "--data", f"{work}/data"], stdout=out, stderr=subprocess.DEVNULL)
            # The peak of this child alone: getrusage knows only the largest of all.
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            took = time.perf_counter() - start
            out.seek(0)
            summary = json.loads(out.read().splitlines()[-1])
        query = "SELECT count(*) AS n, sum(input_tokens) AS i, sum(output_tokens) AS o FROM calls"
        found = subprocess.run([binary, "sql", query, "--data", f"{work}/data", "--format", "json"], check=True, capture_output=True)
        wanted = [{"n": sizes["records"], "i": sizes["input"], "o": sizes["output"]}]
        if json.loads(found.stdout) != wanted or summary["observations"] != sizes["records"]:
            sys.exit(f"the import is wrong: {summary}, {found.stdout}, wanted {wanted}")
        return took, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime


def timed_zcat(logs, sizes, processes=1):
    """One process after the other, as `zcat FILES | wc -l` does it; or several at once, each with its own count."""
    start = time.perf_counter()
    count = "xargs -0 zcat | wc -l" if processes == 1 else f"xargs -0 -P{processes} -n64 sh -c 'zcat \"$@\" | wc -l' zcat"
    command = f"find '{logs}/AWSLogs' -name '*.json.gz' -print0 | {count}"
    lines = sum(map(int, subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout.split()))
    if lines != sizes["records"]:
        sys.exit(f"zcat counts {lines} lines of {sizes['records']}")
    return time.perf_counter() - start


DUCKDB = """
import duckdb, sys, time
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
counts = "STRUCT(inputTokenCount BIGINT, cacheReadInputTokenCount BIGINT, cacheWriteInputTokenCount BIGINT)"
columns = {"timestamp": "TIMESTAMP", "accountId": "VARCHAR", "region": "VARCHAR", "requestId": "VARCHAR", "operation": "VARCHAR",
           "modelId": "VARCHAR", "identity": "STRUCT(arn VARCHAR)", "input": counts, "output": "STRUCT(outputTokenCount BIGINT)"}
query = "CREATE OR REPLACE TABLE t AS SELECT * FROM read_json($1, format = 'newline_delimited', columns = " + str(columns) + ")"
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    con.execute(query, [sys.argv[1] + "/AWSLogs/**/*.json.gz"])
    print(time.perf_counter() - start)
print(con.execute("SELECT count(*) FROM t").fetchone()[0])
"""


def timed_duckdb(logs, sizes, runs):
    python = testenv("duckdb")
    if python is None:
        return None
    done = subprocess.run([python, "-c", DUCKDB, str(logs), str(runs)], check=True, capture_output=True, text=True)
    *times, rows = done.stdout.split()
    if int(rows) != sizes["records"]:
        sys.exit(f"DuckDB reads {rows} rows of {sizes['records']}")
    return statistics.median(map(float, times))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--mb", 200), ("--files", 100), ("--runs", 3)):
        arguments.add_argument(name, type=int, default=value)
    arguments.add_argument("--where", type=pathlib.Path, default=ROOT / "target/bench", help="folder of the logs and the stores")
    given = arguments.parse_args()
    measured, cores = binary(), os.cpu_count()
    logs = given.where / f"bedrock-{given.mb}-{given.files}"
    sizes = generate(logs, given.mb, given.files)
    one, all_cores, imports = [], [], []
    # In turns, so that what else the machine does falls on all of them.
    for _ in range(given.runs):
        one.append(timed_zcat(logs, sizes))
        imports.append(timed_import(measured, logs, sizes))
        all_cores.append(timed_zcat(logs, sizes, cores))
        print(f"# zcat {one[-1]:.2f} s, import {imports[-1][0]:.2f} s, {cores} zcat {all_cores[-1]:.2f} s", file=sys.stderr)
    zcat, parallel, took = statistics.median(one), statistics.median(all_cores), statistics.median(run[0] for run in imports)
    duckdb = timed_duckdb(logs, sizes, given.runs)
    mb = sizes["bytes"] / 1e6
    print(f"# {sizes['records']} records in {given.files} objects, {mb:.0f} MB of JSON, {sizes['stored'] / 1e6:.0f} MB stored; {cores} cores; median of {given.runs}")
    print(f"# import {took:.2f} s ({statistics.median(run[2] for run in imports):.2f} s of processor), zcat | wc -l {zcat:.2f} s, {cores} of them at once {parallel:.2f} s, DuckDB read_json " + (f"{duckdb:.2f} s" if duckdb else "skipped: duckdb not installed"))
    print(f"# peak memory of the import {max(run[1] for run in imports):.0f} MiB")
    against = f"{took / zcat:.2f} times zcat | wc -l, {took / parallel:.2f} times {cores} of them" + (f", {took / duckdb:.2f} times DuckDB read_json" if duckdb else "")
    print(f"bedrock_import: {sizes['records'] / took:.0f} records/s, {mb / took:.0f} MB/s of JSON; takes {against}   [{measured}]")


main()
