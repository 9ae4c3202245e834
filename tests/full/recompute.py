"""Bills a month of invented Bedrock calls with polymeter, and again without it: every call is priced here from the exported
calls and the rows of the price book, with Python's Decimal and rules written down a second time. Sums have to agree to the
last digit.

    POLYMETER_BIN=target/release/polymeter python3 tests/full/recompute.py             # 1,000,000 calls
    POLYMETER_BIN=target/debug/polymeter python3 tests/full/recompute.py --calls 20000

Needs nothing but Python. Ends with `ok …` lines and exit code 0, or with what differs.
"""

import argparse
import collections
import csv
import datetime
import decimal
import fnmatch
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from decimal import Decimal

decimal.getcontext().prec = 60
decimal.getcontext().traps[decimal.Inexact] = True  # a digit that is lost is a mistake

PRICES = """platform,model,scope,unit,context_over,amount,per,currency,valid_from,source
aws.bedrock,claude-sonnet-4-5,*,input,,3.30,1M,USD,2026-01-01,own list
aws.bedrock,claude-sonnet-4-5,*,input,200000,6.60,1M,USD,2026-01-01,own list
aws.bedrock,claude-sonnet-4-5,*,input,,3.17,1M,USD,2026-03-15,own list
aws.bedrock,claude-sonnet-4-5,*,cache_read,,0.33,1M,USD,2026-01-01,own list
aws.bedrock,claude-sonnet-4-5,*,cache_write_5m,,4.125,1M,USD,2026-01-01,own list
aws.bedrock,claude-sonnet-4-5,*,output,,16.50,1M,USD,2026-01-01,own list
aws.bedrock,claude-sonnet-4-5,*,output,200000,24.75,1M,USD,2026-01-01,own list
"""
CONTRACTS = """source = 'EDP 17'
[[contract]]
contract_id = 'EDP'
platform = 'aws.bedrock'
account = '1111*'
factor = '0.91'
valid_from = 2026-03-10
[[contract]]
contract_id = 'NOVA'
platform = 'aws.bedrock'
model = 'nova-lite'
rates = { output = '0.2113' }
currency = 'USD'
per = '1M'
valid_from = 2026-01-01
"""
RULES = """[[rule]]
rule_id = 'payments'
when = { principal = 'checkout-*' }
set = { team = 'payments' }
[[rule]]
rule_id = 'search'
when = { principal = 'search-*' }
set = { team = 'search' }
"""
CONFIG = "[prices]\nfiles = ['prices.csv', 'contracts.toml']\n[attribution]\nfiles = ['rules.toml']\n"
MODELS = ["eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-lite-v1:0", "acme.unheard-of-v1:0"]
START = datetime.datetime(2026, 2, 28, 20, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2026, 4, 1, 2, tzinfo=datetime.timezone.utc)
# The month in Europe/Berlin, whose clocks go forward on the 29th.
FROM, TO = "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"
REPORT = ["report", "chargeback", "--month", "2026-03", "--tz", "Europe/Berlin", "--by", "team,model", "--format", "json"]
REFUSED = {"throttled", "client_error", "server_error", "timeout", "content_filtered"}
FILE_RECORDS = 50_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where to work; a temporary folder by default")
    options = parser.parse_args()
    if options.folder:
        run(pathlib.Path(options.folder), options.calls)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(pathlib.Path(folder), options.calls)


def run(folder, count):
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    for name, text in [("prices.csv", PRICES), ("contracts.toml", CONTRACTS), ("rules.toml", RULES), ("p.toml", CONFIG)]:
        (folder / name).write_text(text)
    began = time.monotonic()
    write_logs(folder / "logs", count)
    tell(f"{count} records written", began)
    began = time.monotonic()
    store = ["--data", str(folder / "data"), "--config", str(folder / "p.toml")]
    summary = json.loads(polymeter(["import", "bedrock", str(folder / "logs"), *store]).splitlines()[-1])
    tell("imported and settled", began)
    check("every record is an observation", summary["observations"], count)
    began = time.monotonic()
    report = json.loads(polymeter([*REPORT, *store]), parse_float=Decimal)
    tell("report made", began)
    began = time.monotonic()
    book = Book(json.loads(polymeter(["prices", "list", "--format", "json", *store]), parse_float=Decimal))
    sums, calls = collections.defaultdict(Sums), 0
    for row in exported(store):
        calls += 1
        sums[row["team"] or None, row["model"] or None].add(row, book.price(row))
    tell(f"{calls} calls priced again", began)
    compare(report, sums, calls)


def write_logs(folder, count):
    """Records spread over the month and a little beyond, from a simple generator of numbers."""
    seed = 20_260_301

    def below(limit):
        nonlocal seed
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        return (seed >> 33) % limit

    step = (END - START) / count
    for first in range(0, count, FILE_RECORDS):
        with open(folder / f"{first:09}.json", "w") as file:
            for n in range(first, min(first + FILE_RECORDS, count)):
                at = START + step * n
                kind, role = below(20), ["checkout-api", "search-web", "stranger"][below(3)]
                model = MODELS[0 if kind < 12 else 1 if kind < 19 else 2]
                record = {
                    "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
                    "accountId": ["111122223333", "444455556666"][below(2)],
                    "region": "eu-central-1",
                    "requestId": f"{n >> 24:08x}-0000-4000-8000-{n:012x}",
                    "operation": "Converse",
                    "modelId": model,
                    "identity": {"arn": f"arn:aws:sts::111122223333:assumed-role/{role}/i-0a1b2c"},
                    "schemaType": "ModelInvocationLog",
                    "schemaVersion": "1.0",
                    "input": {"inputContentType": "application/json"},
                    "output": {"outputContentType": "application/json"},
                }
                if below(50) == 0:
                    record["errorCode"] = "ThrottlingException"
                else:
                    record["input"]["inputTokenCount"] = below(3000) if below(100) else 150_000 + below(120_000)
                    if model == MODELS[0] and below(3) == 0:
                        record["input"]["cacheReadInputTokenCount"] = below(40_000)
                        record["input"]["cacheWriteInputTokenCount"] = below(2000)
                    record["output"]["outputTokenCount"] = below(1500)
                file.write(json.dumps(record) + "\n")


COLUMNS = (
    "ts, platform, model, request_model, scope, account, region, tier, outcome, usage_status, input_tokens,"
    " cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, team, cost_status, currency"
)


def exported(store):
    """The calls of the month, a few days at a time."""
    edges = [f"2026-03-{day:02}T00:00:00Z" for day in range(2, 32, 2)]
    edges = [FROM, *edges, TO]
    for first, last in zip(edges, edges[1:]):
        sql = f"SELECT {COLUMNS} FROM calls WHERE ts >= '{first}' AND ts < '{last}'"
        yield from csv.DictReader(io.StringIO(polymeter(["sql", sql, "--format", "csv", *store])))


class Book:
    """The rows of a price book, looked up by rules of our own."""

    def __init__(self, document):
        self.rates = collections.defaultdict(list)
        for rate in document["prices"]:
            rate["unit_price"] = Decimal(rate["amount"]) / Decimal(rate["per"])
            key = (rate["platform"], rate["model"], rate["tier"], rate["mode"], rate["unit"])
            self.rates[key].append(rate)
        self.contracts = document["contracts"]
        self.known = {}

    def price(self, call):
        """(status, cost, list cost): None for unknown."""
        if call["outcome"] in REFUSED and call["usage_status"] == "missing":
            return "priced", Decimal(0), Decimal(0)
        counts = disjoint(call)
        if call["usage_status"] == "missing" or counts is None:
            return "unpriced", None, None
        cost, listed, missing, found = Decimal(0), Decimal(0), False, False
        for unit, count in counts.items():
            if count == 0:
                continue
            price = self.unit_price(call, unit)
            if price is None:
                missing = True
                continue
            found = True
            cost += count * price[0]
            listed = None if listed is None or price[1] is None else listed + count * price[1]
        if missing:
            return ("partial", cost, listed) if found else ("unpriced", None, None)
        return "priced", cost, listed

    def unit_price(self, call, unit):
        # The same question has the same answer; thresholds and days are part of the question.
        day, context = call["ts"][:10], int(call["input_tokens"] or 0) > 200_000
        key = (call["platform"], call["model"], call["scope"], call["request_model"], call["account"], unit, day, context)
        if key not in self.known:
            self.known[key] = self.search(call, unit)
        return self.known[key]

    def search(self, call, unit):
        rows = [r for r in self.rates[call["platform"], call["model"], "standard", "sync", unit] if holds(r, call)]
        assert not any(row["snapshot"] for row in rows), "editions with prices of their own are not part of this test"
        rank = lambda r: (
            ["bundled", "operator"].index(r["layer"]), exactness(r["scope"]), int(r["context_over"] or 0),
            r["valid_from"] or "", r["recorded_at"],
        )
        row = max(rows, key=rank, default=None)
        own = [c for c in self.contracts if agreed(c, call)]
        rates = [c for c in own if c["terms"].get("unit") == unit]
        factors = [c for c in own if "factor" in c["terms"]]
        if rates:
            (contract,) = rates
            price = Decimal(contract["terms"]["amount"]) / Decimal(contract["terms"]["per"])
            return price, row and row["unit_price"]
        if row is None:
            return None
        factor = Decimal(factors[0]["terms"]["factor"]) if factors else Decimal(1)
        return row["unit_price"] * factor, row["unit_price"]


def within(row, at):
    return (row["valid_from"] is None or row["valid_from"][:19] <= at[:19]) and (
        row["valid_to"] is None or at[:19] < row["valid_to"][:19])


def holds(rate, call):
    over = rate["context_over"]
    if over is not None and int(call["input_tokens"] or 0) <= int(over):
        return False
    scope, (kind, _, place) = rate["scope"], rate["scope"].partition(":")
    geo = call["request_model"].split(".")[0] if call["scope"] == "geo" else None
    fits = (
        scope == "*" or (kind == "geo" and call["scope"] == "geo" and place == geo)
        or (kind == call["scope"] and kind != "geo" and place in ("", call["region"])))
    return fits and within(rate, call["ts"])


def exactness(scope):
    kind, _, place = scope.partition(":")
    return 0 if kind == "*" else 2 if place else 1


def agreed(contract, call):
    fits = lambda pattern, text: pattern is None or fnmatch.fnmatchcase(text or "", pattern)
    return (
        contract["platform"] == call["platform"] and fits(contract["account"], call["account"])
        and fits(contract["model"], call["model"]) and within(contract, call["ts"]))


def disjoint(call):
    number = lambda name: int(call[name] or 0)
    if not call["input_tokens"] or not call["output_tokens"]:
        return None
    read, write, hour = number("cache_read_tokens"), number("cache_write_tokens"), number("cache_write_1h_tokens")
    return {
        "input": number("input_tokens") - read - write, "cache_read": read, "cache_write_5m": write - hour,
        "cache_write_1h": hour, "output": number("output_tokens"),
    }


class Sums:
    def __init__(self):
        self.calls = self.unpriced = self.input = self.output = 0
        self.cost = self.listed = None

    def add(self, row, priced):
        status, cost, listed = priced
        if status != row["cost_status"]:
            fail(f"cost_status of a call is {row['cost_status']}, {status} by this computation: {row}")
        self.calls += 1
        self.unpriced += status == "unpriced"
        self.input += int(row["input_tokens"] or 0)
        self.output += int(row["output_tokens"] or 0)
        self.cost = self.cost if cost is None else (self.cost or Decimal(0)) + cost
        self.listed = self.listed if listed is None else (self.listed or Decimal(0)) + listed


def compare(report, sums, calls):
    lines = {(line["team"], line["model"]): line for line in report["lines"]}
    # Names of models that nobody knows are asked for by another name; the report groups by the known one.
    check("the groups are the same", sorted(map(str, lines)), sorted(map(str, sums)))
    for key, own in sums.items():
        line = lines[key]
        found = (line["calls"], line["input_tokens"], line["output_tokens"], line["unpriced_calls"])
        if found != (own.calls, own.input, own.output, own.unpriced):
            fail(f"{key}: {found} in the report, {(own.calls, own.input, own.output, own.unpriced)} recomputed")
        for name, value in [("cost", own.cost), ("list_cost", own.listed)]:
            said = None if line[name] is None else Decimal(line[name])
            if said != value:
                fail(f"{key}: {name} is {said} in the report, {value} recomputed")
    (total,) = report["totals"]
    whole = sum((own.cost for own in sums.values() if own.cost is not None), Decimal(0))
    check("calls of the month", total["calls"], calls)
    check("the total to the last digit", Decimal(total["cost"]), whole)
    check("amounts add up", sum(Decimal(line["amount"]) for line in report["lines"] if line["amount"]), Decimal(total["amount"]))
    print(f"ok {len(sums)} lines, {calls} calls, {whole.normalize()} {total['currency']}: the report is what was recomputed")


def polymeter(args):
    done = subprocess.run([os.environ["POLYMETER_BIN"], *args], capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"polymeter {args[:3]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def check(what, found, expected):
    if found != expected:
        fail(f"{what}: found {found}, expected {expected}")
    print(f"ok {what}")


def tell(what, began):
    print(f"   {what}: {time.monotonic() - began:.1f} s", flush=True)


def fail(why):
    print(f"FAILED {why}")
    sys.exit(1)


if __name__ == "__main__":
    main()
