"""The OpenTelemetry Python SDK's own exporters, over HTTP and gRPC, plain and gzip."""

import time

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from harness import Polymeter, check, equal, folder, until

LIMIT_S = 2.0
RESOURCE = Resource.create({"service.name": "checkout", "deployment.environment.name": "production"})


def recorded(exporter):
    """The results that the exporter gives, beside letting it work."""
    results, export = [], exporter.export
    exporter.export = lambda *args, **kwargs: results.append(export(*args, **kwargs)) or results[-1]
    return results


def calls(meter, label, exporter, number):
    """Exports `number` calls under one agent span; the calls must be in SQL soon after the flush, each once."""
    results = recorded(exporter)
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=number + 1024))
    tracer = provider.get_tracer("opentelemetry.instrumentation.openai_v2")
    with tracer.start_as_current_span("invoke_agent helper", attributes={"gen_ai.operation.name": "invoke_agent"}) as root:
        trace = f"{root.get_span_context().trace_id:032x}"
        for n in range(number):
            with tracer.start_as_current_span("chat gpt-4o") as span:
                span.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "gpt-4o",
                        "gen_ai.response.model": "gpt-4o-2024-11-20",
                        "gen_ai.response.id": f"chatcmpl-{trace[:16]}{n:06d}",
                        "gen_ai.response.finish_reasons": ["stop"],
                        "gen_ai.usage.input_tokens": 120 + n,
                        "gen_ai.usage.output_tokens": 30,
                        "server.address": "api.openai.com",
                    }
                )
    if not provider.force_flush(30_000):
        return check(f"{label} is taken in", False, "the flush did not end")
    flushed = time.monotonic()
    query = "SELECT count(*) AS calls, sum(input_tokens) AS i, sum(output_tokens) AS o FROM calls WHERE trace_id = $1"
    wanted = (number, sum(range(120, 120 + number)), 30 * number)
    took = until(lambda: meter.one(query, trace) == wanted, 10)
    provider.shutdown()
    if not equal(f"{label} is acknowledged", {result.name for result in results}, {"SUCCESS"}):
        return False
    if took is None:
        return equal(f"{label}: {number} calls in SQL", meter.one(query, trace), wanted)
    took = time.monotonic() - flushed
    return check(f"{label}: {number} call(s) in SQL within {LIMIT_S} s of the flush", took <= LIMIT_S, f"{1000 * took:.0f} ms")


def metrics(meter, label, exporter):
    """A token histogram by the convention; accepted, and never a call."""
    before = meter.one("SELECT count(*) FROM calls")
    results = recorded(exporter)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], RESOURCE)
    histogram = provider.get_meter("polymeter-test").create_histogram("gen_ai.client.token.usage", "{token}")
    for kind, value in (("input", 120), ("output", 30)):
        attributes = {"gen_ai.token.type": kind, "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
        histogram.record(value, {**attributes, "gen_ai.operation.name": "chat"})
    provider.force_flush(30_000)
    provider.shutdown()
    check(f"{label} is acknowledged", MetricExportResult.SUCCESS in results and len(set(results)) == 1, results)
    time.sleep(0.3)
    equal(f"{label} makes no call", meter.one("SELECT count(*) FROM calls"), before)


def main():
    with folder() as work, Polymeter(work / "data", work) as meter:
        traces, points = f"{meter.otlp_http}/v1/traces", f"{meter.otlp_http}/v1/metrics"
        exporters = [
            ("traces over HTTP", HttpSpans(endpoint=traces, compression=Compression.NoCompression)),
            ("traces over HTTP, gzip", HttpSpans(endpoint=traces, compression=Compression.Gzip)),
            ("traces over gRPC", GrpcSpans(endpoint=meter.grpc, insecure=True, compression=grpc.Compression.NoCompression)),
            ("traces over gRPC, gzip", GrpcSpans(endpoint=meter.grpc, insecure=True, compression=grpc.Compression.Gzip)),
        ]
        for label, exporter in exporters:
            calls(meter, label, exporter, 1)
        calls(meter, "a batch over gRPC, gzip", GrpcSpans(endpoint=meter.grpc, insecure=True, compression=grpc.Compression.Gzip), 2000)
        metrics(meter, "metrics over HTTP, gzip", HttpMetrics(endpoint=points, compression=Compression.Gzip))
        metrics(meter, "metrics over gRPC", GrpcMetrics(endpoint=meter.grpc, insecure=True))
        total = meter.one("SELECT count(*) FROM calls")
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
        with Polymeter(work / "data", work) as again:
            equal("all calls are there after a restart", again.one("SELECT count(*) FROM calls"), total, f"{total[0]} calls")


main()
