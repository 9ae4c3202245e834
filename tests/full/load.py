"""64 people look at dashboards while calls come in: every panel answers, memory is bounded, and somebody's runaway query does
not keep the others from their answers. POLYMETER_LOAD_S says for how long (20 s by default; 300 for a figure), POLYMETER_BIN
should be a release build then."""

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request

from harness import HTTP, Polymeter, check, folder, until
from panels import expanded, last_hours, panels

SECONDS = float(os.environ.get("POLYMETER_LOAD_S", "20"))
PEOPLE = int(os.environ.get("POLYMETER_LOAD_PEOPLE", "64"))
RUNAWAY = "SELECT count(*) FROM calls a JOIN calls b ON a.input_tokens + b.output_tokens < 0 JOIN calls c ON a.output_tokens + c.input_tokens < 0"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")



def spans(n):
    """Twenty calls of now, as a gateway sends them."""
    now = time.time_ns()
    number = lambda key, value: {"key": key, "value": {"intValue": str(value)}}
    text = lambda key, value: {"key": key, "value": {"stringValue": value}}
    made = [{
        "traceId": f"{n * 20 + i + 1:032x}", "spanId": f"{n * 20 + i + 1:016x}", "name": "chat gpt-4o", "kind": 3,
        "startTimeUnixNano": str(now - 900_000_000), "endTimeUnixNano": str(now),
        "attributes": [text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"), text("gen_ai.request.model", "gpt-4o"),
                       text("gen_ai.response.id", f"chatcmpl-load-{n}-{i}"), number("gen_ai.usage.input_tokens", 100 + i), number("gen_ai.usage.output_tokens", 10)],
    } for i in range(20)]
    return {"resourceSpans": [{"resource": {"attributes": [text("service.name", "load")]}, "scopeSpans": [{"scope": {"name": "opentelemetry.instrumentation.openai_v2"}, "spans": made}]}]}


def main():
    with folder() as work, Polymeter(work / "data", work, more=["--demo"]) as server:
        run(server)


def run(server):
    http, otlp = f"http://{server.http}", server.otlp_http

    def ask(path, body=None, seconds=60):
        request = urllib.request.Request(http + path, json.dumps(body).encode() if body else None, {"content-type": "application/json"} if body else {})
        with HTTP.open(request, timeout=seconds) as answer:
            return answer.read()

    rows = lambda: json.loads(ask("/api/v1/sql", {"sql": "SELECT count(*) AS n FROM calls"}))["rows"][0]["n"]
    check("the demo's calls are there", until(lambda: rows() > 45_000, 300, 1) is not None, f"{rows()} calls")
    all_panels = [(dashboard, title, text) for dashboard, title, text in panels("infinity")]
    dashboards = sorted({dashboard for dashboard, *_ in all_panels})
    sent, refused, errors = [0], [0], []
    times = {"calm": [], "runaway": []}
    phase, stop = ["calm"], threading.Event()

    def ingest():
        n = 0
        while not stop.is_set():
            request = urllib.request.Request(f"{otlp}/v1/traces", json.dumps(spans(n)).encode(), {"content-type": "application/json"})
            try:
                HTTP.open(request, timeout=30).close()
                sent[0] += 20
            except OSError as error:
                errors.append(f"ingest: {error}")
            n += 1
            stop.wait(0.1)

    def person(number):
        dice = random.Random(number)
        while not stop.is_set():
            board = dice.choice(dashboards)
            start, end = last_hours(dice.choice([1, 6, 24, 48]))
            for dashboard, title, text in all_panels:
                if dashboard != board or stop.is_set():
                    continue
                begun, when = time.monotonic(), phase[0]
                try:
                    ask(expanded(text, start, end).replace(" ", "%20"))
                    times[when].append(time.monotonic() - begun)
                except urllib.error.HTTPError as error:
                    errors.append(f"{board}/{title}: {error.code} {error.read()[:200]}")
                except OSError as error:
                    errors.append(f"{board}/{title}: {error}")

    def runaway():
        while not stop.is_set():
            try:
                # On a quiet machine it is done within its time.
                ask("/api/v1/sql", {"sql": RUNAWAY}, 90)
                refused[0] += 1
            except urllib.error.HTTPError as error:
                refused[0] += 1
                if error.code not in (408, 422):
                    errors.append(f"runaway: {error.code} {error.read()[:200]}")
            except OSError as error:
                errors.append(f"runaway: {error}")

    threads = [threading.Thread(target=person, args=(number,)) for number in range(PEOPLE)] + [threading.Thread(target=ingest)]
    [thread.start() for thread in threads]
    time.sleep(SECONDS / 2)
    phase[0] = "runaway"
    threads.append(threading.Thread(target=runaway))
    threads[-1].start()
    time.sleep(SECONDS / 2)
    stop.set()
    [thread.join(120) for thread in threads]
    check("no panel and no span failed", not errors, f"{len(errors)} errors: {errors[:3]}" if errors else f"{sum(map(len, times.values()))} panels, {sent[0]} spans")
    for when, taken in times.items():
        print(f"# {when}: {len(taken)} panels, p50 {percentile(taken, 0.5) * 1000:.0f} ms, p95 {percentile(taken, 0.95) * 1000:.0f} ms, max {max(taken, default=0) * 1000:.0f} ms", flush=True)
    check("others are answered beside a runaway query", len(times["runaway"]) * 4 > len(times["calm"]), f"{len(times['calm'])} then {len(times['runaway'])} panels; runaway ended {refused[0]} times")
    most = server.memory("VmHWM")
    check("memory is bounded", most < 2048, f"{most} MiB at most")
    counted = json.loads(ask("/api/v1/sql", {"sql": "SELECT count(*) AS n FROM calls WHERE service = 'load'"}))["rows"][0]["n"]
    check("every span is counted once", counted == sent[0], f"{counted} of {sent[0]}")


main()
