"""S3 (moto; minio.py runs the same on MinIO): Bedrock's log bucket as a source, and a bucket as the store."""

import json

import boto3

from harness import (
    Polymeter,
    bedrock_objects,
    check,
    equal,
    folder,
    moto,
    polymeter,
    summary,
    totals,
    until,
)

RECORDS, FILES = 3000, 30
SPAN = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]},
            "scopeSpans": [{"scope": {"name": "opentelemetry.instrumentation.openai_v2"}, "spans": []}],
        }
    ]
}


def export(meter, trace, number):
    """Sends `number` calls as OTLP/JSON; True if polymeter acknowledged them."""
    import time
    import urllib.request

    from harness import HTTP

    now = time.time_ns()
    text = lambda key, value: {"key": key, "value": {"stringValue": value}}
    count = lambda key, value: {"key": key, "value": {"intValue": str(value)}}
    spans = [
        {
            "traceId": trace,
            "spanId": f"{n + 1:016x}",
            "name": "chat gpt-4o",
            "kind": 3,
            "startTimeUnixNano": str(now - 1_000_000_000),
            "endTimeUnixNano": str(now),
            "attributes": [
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.provider.name", "openai"),
                text("gen_ai.request.model", "gpt-4o"),
                count("gen_ai.usage.input_tokens", 100),
                count("gen_ai.usage.output_tokens", 10),
            ],
        }
        for n in range(number)
    ]
    body = json.loads(json.dumps(SPAN))
    body["resourceSpans"][0]["scopeSpans"][0]["spans"] = spans
    request = urllib.request.Request(
        f"{meter.otlp_http}/v1/traces", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with HTTP.open(request, timeout=60) as answer:
        return answer.status == 200 and json.load(answer) == {}


def store_on_s3(work, env):
    """`serve` on a bucket: acknowledged calls outlive SIGTERM and kill -9."""
    place = "s3://polymeter-store/deep/store"
    count = "SELECT count(*) AS n, sum(input_tokens) AS i FROM calls"
    with Polymeter(place, work, env) as meter:
        check("serve --data s3://… takes an OTLP export", export(meter, "1" * 32, 5))
        took = until(lambda: meter.one(count) == (5, 500), 10)
        check("its calls are in SQL", took is not None, f"{1000 * (took or 0):.0f} ms after the acknowledgement")
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
    with Polymeter(place, work, env) as meter:
        equal("after a restart the calls are there", meter.one(count), (5, 500))
        export(meter, "2" * 32, 7)
        meter.kill()
    with Polymeter(place, work, env) as meter:
        equal("after kill -9 every acknowledged call is there, once", meter.one(count), (12, 1200))
        export(meter, "2" * 32, 7)
        until(lambda: meter.one(count)[0] > 12, 2)
        equal("a redelivered export changes nothing", meter.one(count), (12, 1200))
        found = json.loads(polymeter("sql", count, "--data", place, "--format", "json", env=env))
        equal("`polymeter sql` beside it agrees", found, [{"n": 12, "i": 1200}])
        done = summary("bedrock", "s3://bedrock-logs/", "--data", place, env=env)
        equal("an import beside it takes all records in", done["observations"], RECORDS)
        took = until(lambda: meter.one(count)[0] == 12 + RECORDS, 30)
        check("and the serving process shows them", took is not None, meter.one(count))
    keys = [one.key for one in boto3.resource("s3", endpoint_url=env["AWS_ENDPOINT_URL"]).Bucket("polymeter-store").objects.all()]
    kinds = {key.split("/")[2] for key in keys}
    check("journal and tables lie below the prefix", all(key.startswith("deep/store/") for key in keys), sorted(kinds))


def main(s3):
    import os

    with folder() as work, s3(work) as env:
        os.environ.update({key: value for key, value in env.items() if key != "AWS_ENDPOINT_URL"})
        client = boto3.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"])
        for bucket in ("bedrock-logs", "polymeter-store"):
            client.create_bucket(Bucket=bucket)
        objects, wanted = bedrock_objects(RECORDS, FILES, "team logs/")
        for key, body in objects.items():
            client.put_object(Bucket="bedrock-logs", Key=key, Body=body)
        data = work / "data"
        done = summary("bedrock", "s3://bedrock-logs/", "--data", data, env=env)
        found = {key: done[key] for key in ("records", "observations", "quarantined", "duplicates", "objects")}
        full = {"records": RECORDS, "observations": RECORDS, "quarantined": 0, "duplicates": 0, "objects": FILES}
        equal("import bedrock s3://… reads the log objects and nothing else", found, full, found)
        equal("totals are exact", totals(data), wanted, f"calls, input, cache read, output: {wanted}")
        done = summary("bedrock", "s3://bedrock-logs/team logs/AWSLogs", "--data", data, env=env)
        equal("the second import says that all are duplicates", done["duplicates"], RECORDS)
        equal("totals are the same after the second import", totals(data), wanted)
        key = next(key for key in objects if key.endswith(".json.gz") and "/data/" not in key)
        done = summary("bedrock", f"s3://bedrock-logs/{key}", "--data", work / "one", env=env)
        equal("one object by its own URL", done["records"], RECORDS // FILES)
        store_on_s3(work, env)


if __name__ == "__main__":
    main(moto)
