"""A real OpenTelemetry Collector between applications with OpenTelemetry's own SDK and polymeter: over gRPC and HTTP, with
gzip, batches, retries and queues, while polymeter dies, can't write and restarts; and the same data on five ways at once."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from harness import ENV, HTTP, Polymeter, check, end, equal, folder, free_port, summary, totals, until

PAUSE_S = float(os.environ.get("POLYMETER_COLLECTOR_PAUSE_S", "0.02"))
TOKEN = "a-token-of-the-collector"
CALLS = "SELECT count(*), count(DISTINCT span_id), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM calls WHERE service = $1"


def open_port(port):
    """True if somebody listens there."""
    import socket

    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Collector:
    """A Collector with the given exporters in every pipeline; it keeps its ports and its folder over restarts."""

    def __init__(self, work, name, exporters, batch=True, metrics=False):
        self.grpc, self.http = free_port(), free_port()
        self.folder, self.log = work / f"collector-{name}", work / f"collector-{name}.log"
        (self.folder / "queue").mkdir(parents=True)
        processors = ["memory_limiter", "batch"] if batch else ["memory_limiter"]
        pipeline = {"receivers": ["otlp"], "processors": processors, "exporters": list(exporters)}
        config = {
            "extensions": {"file_storage": {"directory": str(self.folder / "queue")}},
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": f"127.0.0.1:{self.grpc}"},
                        "http": {"endpoint": f"127.0.0.1:{self.http}"},
                    }
                }
            },
            "processors": {
                "memory_limiter": {"check_interval": "1s", "limit_mib": 400},
                "batch": {"timeout": "300ms", "send_batch_size": 512},
            },
            "exporters": exporters,
            "service": {
                "extensions": ["file_storage"],
                "pipelines": {"traces": pipeline, **({"metrics": pipeline} if metrics else {})},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        # JSON is YAML too.
        self.config = self.folder / "config.yaml"
        self.config.write_text(json.dumps(config, indent=1))
        self.start()

    def start(self):
        with open(self.log, "ab") as out:
            command = [str(ENV / "bin/otelcol"), "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        ready = lambda: self.process.poll() is not None or (open_port(self.grpc) and open_port(self.http))
        if until(ready, 60, 0.1) is None or self.process.poll() is not None:
            end(self.process, 5)
            raise RuntimeError(f"the Collector did not come up:\n{self.log.read_text()[-3000:]}")

    def stop(self):
        return end(self.process, 60)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self, text):
        """How often its log has a text."""
        return self.log.read_text().count(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def exporter(endpoint, ca=None, token=None, **more):
    """An exporter that gives up never, whatever is retryable."""
    made = {
        "endpoint": endpoint,
        "compression": "gzip",
        "retry_on_failure": {"enabled": True, "initial_interval": "200ms", "max_interval": "2s", "max_elapsed_time": "0s"},
        "sending_queue": {"enabled": True, "queue_size": 20_000, "num_consumers": 4, **more},
        "tls": {"ca_file": str(ca)} if ca else {"insecure": True},
    }
    return {**made, "headers": {"authorization": f"Bearer {token}"}} if token else made


# On disk before it is acknowledged, and put together only then: what the batch processor holds dies with the Collector.
DURABLE = {"storage": "file_storage", "sizer": "items", "queue_size": 1_000_000, "batch": {"flush_timeout": "300ms", "min_size": 512}}


class Application:
    """Makes calls until it is told to stop. What its Collector does not take it sends again."""

    def __init__(self, service, spans):
        self.service, self.made, self.stop, self.again = service, 0, threading.Event(), 0
        export = spans.export

        def patient(batch):
            while export(batch) is not SpanExportResult.SUCCESS:
                self.again += 1
                time.sleep(0.3)
            return SpanExportResult.SUCCESS

        spans.export = patient
        self.provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self.provider.add_span_processor(BatchSpanProcessor(spans, max_queue_size=500_000, schedule_delay_millis=200))
        self.tracer = self.provider.get_tracer("opentelemetry.instrumentation.openai_v2")
        self.thread = threading.Thread(target=self.work, daemon=True)

    def call(self):
        n, self.made = self.made, self.made + 1
        with self.tracer.start_as_current_span("chat gpt-4o") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4o",
                    "gen_ai.response.id": f"chatcmpl-{self.service}-{n:08d}",
                    "gen_ai.usage.input_tokens": 100 + n,
                    "gen_ai.usage.output_tokens": 10,
                    "server.address": "api.openai.com",
                }
            )

    def work(self):
        while not self.stop.is_set():
            self.call()
            time.sleep(PAUSE_S)

    def end(self):
        """What `CALLS` must say, once everything is with the Collector."""
        self.stop.set()
        if self.thread.ident:
            self.thread.join()
        if not self.provider.force_flush(120_000):
            raise RuntimeError(f"{self.service} could not hand its spans over to the Collector")
        self.provider.shutdown()
        n = self.made
        return (n, n, sum(range(100, 100 + n)), 10 * n)


def counted(meter, **labels):
    """Requests of OTLP by their answer."""
    with HTTP.open(f"http://{meter.http}/metrics", timeout=30) as answer:
        lines = re.findall(r"^polymeter_otlp_requests_total\{(.*)\} (\S+)$", answer.read().decode(), re.M)
    return sum(float(value) for names, value in lines if all(f'{key}="{label}"' in names for key, label in labels.items()))


def exact(what, meter, service, wanted, seconds=90):
    """A check that the totals of a service come to these and stay."""
    took = until(lambda: meter.one(CALLS, service) == wanted, seconds, 0.2)
    time.sleep(1.5)
    return equal(what, meter.one(CALLS, service), wanted, f"{wanted[0]} calls, {wanted[2]} tokens, {took or 0:.1f} s after the last")


def certificates(work):
    """A certificate of its own for the loopback."""
    key, cert = work / "tls.key", work / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return key, cert


def outages(work, config, ports):
    """Two Collectors, one a protocol, while polymeter is killed, can't write for a while, and is restarted."""
    data = work / "data"
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(Polymeter(data, work, config=config))
        by_grpc = stack.enter_context(Collector(work, "grpc", {"otlp_grpc": exporter(f"127.0.0.1:{ports['grpc']}")}))
        made = {"otlp_http": exporter(f"http://127.0.0.1:{ports['http']}", **DURABLE)}
        by_http = stack.enter_context(Collector(work, "http", made, batch=False))
        one = Application("by-grpc", GrpcSpans(endpoint=f"127.0.0.1:{by_grpc.grpc}", insecure=True))
        two = Application("by-http", HttpSpans(endpoint=f"http://127.0.0.1:{by_http.http}/v1/traces"))
        for app in (one, two):
            app.thread.start()
        flowing = lambda: all(meter.one(CALLS, app.service)[0] >= 50 for app in (one, two))
        check("SDK → Collector → polymeter, over gRPC and over HTTP", until(flowing, 60, 0.2) is not None, meter.sql("SELECT service, count(*) AS calls FROM calls GROUP BY 1"))
        meter.kill()
        time.sleep(3)
        # A Collector dies too, while it holds what polymeter has not taken.
        by_http.kill()
        by_http.start()
        time.sleep(2)
        meter = stack.enter_context(Polymeter(data, work, config=config))
        took = until(lambda: min(meter.one(CALLS, app.service)[0] - 50 for app in (one, two)) > 0, 60, 0.2)
        check("after kill -9 of polymeter, and of one Collector meanwhile, calls come in again", took is not None, f"{took or 0:.1f} s after its start")
        # The journal can't be written: 503 and UNAVAILABLE, which a Collector retries.
        (data / "journal").rename(data / "journal-away")
        (data / "journal").write_text("")
        refused = until(lambda: counted(meter, answer="unavailable") >= 4, 30, 0.2)
        (data / "journal").unlink()
        (data / "journal-away").rename(data / "journal")
        check("where it can't write it says: not now", refused is not None, f"{counted(meter, answer='unavailable'):.0f} requests")
        before = {app: meter.one(CALLS, app.service)[0] for app in (one, two)}
        took = until(lambda: all(meter.one(CALLS, app.service)[0] > before[app] for app in (one, two)), 60, 0.2)
        check("and goes on once it can", took is not None, f"{took or 0:.1f} s")
        time.sleep(1)
        check("SIGTERM under load ends it with exit code 0", meter.stop(), meter.process.returncode)
        time.sleep(1)
        meter = stack.enter_context(Polymeter(data, work, config=config))
        for app, collector, protocol in ((one, by_grpc, "gRPC"), (two, by_http, "HTTP, with a Collector that died too")):
            wanted = app.end()
            exact(f"totals are exact over {protocol}", meter, app.service, wanted)
            retried = collector.said("Exporting failed. Will retry")
            check(f"its Collector retried and dropped nothing ({app.service})", retried > 0 and not collector.said("Dropping data"), f"{retried} retries")
        check("nothing is in quarantine", meter.one("SELECT count(*) FROM quarantine") == (0,))
        for collector in (by_grpc, by_http):
            check("SIGTERM ends the Collector", collector.stop())


def usage(meter, service):
    """What the view makes of the metrics of a service."""
    rows = meter.sql("SELECT input_tokens, output_tokens, operations FROM metric_usage WHERE service = $1 AND model = 'gpt-4o'", service)
    return tuple(sum(row[name] or 0 for row in rows) for name in ("input_tokens", "output_tokens", "operations"))


def measure(service, endpoint, temporality):
    """Histograms by the convention, told three times as they grow; what `usage` must say."""
    points = GrpcMetrics(endpoint=endpoint, insecure=True, preferred_temporality={Histogram: temporality})
    reader = PeriodicExportingMetricReader(points, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], Resource.create({"service.name": service}))
    meter = provider.get_meter("opentelemetry.instrumentation.openai_v2")
    tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}")
    duration = meter.create_histogram("gen_ai.client.operation.duration", "s")
    common = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    wanted = [0, 0, 0]
    for turn in range(3):
        for n in range(20):
            for kind, at, value in (("input", 0, 100 + n + turn), ("output", 1, 10)):
                tokens.record(value, {**common, "gen_ai.token.type": kind})
                wanted[at] += value
            duration.record(0.5, common)
            wanted[2] += 1
        provider.force_flush(30_000)
    provider.shutdown()
    return tuple(wanted)


def five_ways(work, config, ports, cert):
    """One Collector tells everything over gRPC and HTTP, in clear and over TLS with a token, and to a file."""
    places = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    ways = {
        "otlp_grpc/plain": exporter(places["grpc"]),
        "otlp_http/plain": exporter(f"http://{places['http']}"),
        "otlp_grpc/guarded": exporter(f"https://{places['guarded-grpc']}", cert, TOKEN),
        "otlp_http/guarded": exporter(f"https://{places['guarded-http']}", cert, TOKEN),
        "otlp_grpc/stranger": exporter(f"https://{places['guarded-grpc']}", cert, "another-token"),
        "otlp_http/stranger": exporter(f"https://{places['guarded-http']}", cert),
        "file": {"path": str(work / "otlp.jsonl")},
    }
    with Polymeter(work / "five", work, config=config) as meter:
        with Collector(work, "five", ways, metrics=True) as collector:
            app = Application("five-ways", GrpcSpans(endpoint=f"127.0.0.1:{collector.grpc}", insecure=True))
            for _ in range(1000):
                app.call()
            wanted = app.end()
            exact("the same spans over gRPC and HTTP, in clear and with TLS and token: each call once", meter, "five-ways", wanted)
            until(lambda: counted(meter, answer="unauthenticated", signal="traces") >= 2, 20, 0.2)
            seen = meter.sql("SELECT source, count(DISTINCT span_id) AS n FROM observations WHERE witness <> 'placeholder' GROUP BY 1 ORDER BY 1")
            equal("both receivers saw all of them", seen, [{"source": "guarded", "n": wanted[0]}, {"source": "plain", "n": wanted[0]}], seen)
            equal("four of six exporters were let in", counted(meter, answer="unauthenticated") > 0, True, f"{counted(meter, answer='unauthenticated'):.0f} requests refused")
            told = [collector.said(way) > 0 for way in ("otlp_grpc/stranger", "otlp_http/stranger")]
            check("those without the token gave up at once", all(told) and collector.said("Dropping data") > 0, collector.said("Dropping data"))
            for kind, temporality in (("cumulative", AggregationTemporality.CUMULATIVE), ("delta", AggregationTemporality.DELTA)):
                total = measure(f"metrics-{kind}", f"127.0.0.1:{collector.grpc}", temporality)
                took = until(lambda: usage(meter, f"metrics-{kind}") == total, 20, 0.2)
                time.sleep(1.5)
                equal(f"{kind} token metrics on four ways count once in provider_metrics", usage(meter, f"metrics-{kind}"), total, f"input, output, operations {total}, {took or 0:.1f} s")
            equal("and make no call", meter.one("SELECT count(*) FROM calls"), (wanted[0],))
            check("SIGTERM ends the Collector", collector.stop())
        done = summary("otlp", work / "otlp.jsonl", "--data", work / "from-file")
        equal("import of what the Collector's file exporter wrote: the same totals", totals(work / "from-file"), (wanted[0], wanted[2], 0, wanted[3]), {key: done[key] for key in ("records", "observations", "quarantined")})
        check("SIGTERM ends polymeter with exit code 0", meter.stop(), meter.process.returncode)


def main():
    with folder() as work:
        key, cert = certificates(work)
        (work / "tokens").write_text(TOKEN + "\n")
        ports = {name: free_port() for name in ("grpc", "http", "guarded-grpc", "guarded-http")}
        config = work / "polymeter.toml"
        config.write_text(
            f'[[receiver]]\nname = "plain"\ngrpc = "127.0.0.1:{ports["grpc"]}"\nhttp = "127.0.0.1:{ports["http"]}"\n'
            f'[[receiver]]\nname = "guarded"\ngrpc = "127.0.0.1:{ports["guarded-grpc"]}"\nhttp = "127.0.0.1:{ports["guarded-http"]}"\n'
            f'tls = {{ cert = "{cert}", key = "{key}" }}\ntoken_file = "{work / "tokens"}"\n'
        )
        five_ways(work, config, ports, cert)
        outages(work, config, ports)


main()
