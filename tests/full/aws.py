"""AWS collectors (moto): S3 notifications over SQS, a log group, control totals, a role in another account."""

import datetime
import gzip
import json
import os
import threading
import time

import boto3

from cbor_bridge import bridge
from flaky import flaky
from harness import ACCOUNT, HTTP, REGION, TOTALS, Polymeter, add, check, equal, folder, moto, now, put_log, record_at, source_of, summary, until


def notifications(work, env, clients):
    """A generator writes while the collector tails; notifications and listing, a crash, copies, poison."""
    s3, sqs = clients("s3"), clients("sqs")
    s3.create_bucket(Bucket="llm-logs")
    url = sqs.create_queue(QueueName="llm-notices")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    before = put_log(s3, "llm-logs", 0, 50, now() - datetime.timedelta(days=3))[1]
    s3.put_bucket_notification_configuration(
        Bucket="llm-logs",
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    config = work / "queue.toml"
    config.write_text(
        f'[[source]]\nname = "llm"\nkind = "bedrock"\nlocation = "s3://llm-logs/llm"\nqueue_url = "{url}"\n'
    )
    data, sums, keys = work / "queued", [before], []

    def write(first, count):
        for n in range(count):
            at = now() - datetime.timedelta(hours=n % 3)
            key, more = put_log(s3, "llm-logs", first + 10 * n, first + 10 * n + 10, at)
            keys.append(key)
            sums.append(more)
            s3.put_object(Bucket="llm-logs", Key=os.path.dirname(key) + f"/data/{n}_input.json.gz", Body=b"x")

    with Polymeter(data, work, env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == before, 20)
        check("what was there before the queue is listed", took is not None, f"{took or 0:.1f} s")
        _, one = put_log(s3, "llm-logs", 100, 110)
        sums.append(one)
        took = until(lambda: meter.one(TOTALS) == add(*sums), 30)
        check("a notified object is in SQL", took is not None, f"{took or 0:.1f} s after its PUT")
        sqs.send_message(QueueUrl=url, MessageBody="this is no notification")
        writing = threading.Thread(target=write, args=(1000, 30))
        writing.start()
        time.sleep(1.5)
        meter.kill()
    with Polymeter(data, work, env, config) as meter:
        writing.join()
        took = until(lambda: meter.one(TOTALS) == add(*sums), 90)
        equal("after kill -9 under load the totals are exact", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        for key in keys[:5]:
            body = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "llm-logs"}, "object": {"key": key}}}]}
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Type": "Notification", "Message": json.dumps(body)}))
        depth = lambda: [
            int(value)
            for value in sqs.get_queue_attributes(
                QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            )["Attributes"].values()
        ]
        # What the killed process had taken comes again after two minutes.
        took = until(lambda: depth() == [0, 0], 150, 0.5)
        check("the queue is empty in the end", took is not None, depth())
        equal("copies (SNS form) change nothing", meter.one(TOTALS), add(*sums))
        equal("poison is in quarantine", meter.sql("SELECT reason, count(*) AS n FROM quarantine GROUP BY 1"), [{"reason": "bad_notification", "n": 1}])
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def bad_endpoint(work, env, clients):
    """Every third request fails while a generator writes into hour after hour: by queue and by listing, with late objects and
    two kills. One is asked for each bucket, log group and queue: all of them through the bad endpoint."""
    s3, sqs, logs = clients("s3"), clients("sqs"), clients("logs")
    s3.create_bucket(Bucket="bad-logs")
    url = sqs.create_queue(QueueName="bad-notices", Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.put_bucket_notification_configuration(
        Bucket="bad-logs",
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    logs.create_log_group(logGroupName="/bad")
    logs.create_log_stream(logGroupName="/bad", logStreamName="aws/bedrock/modelinvocations")
    sums, last = [], []

    def write():
        for n in range(24):
            # The hour turns every four objects; one in six comes a day and a half late.
            at = now() - datetime.timedelta(hours=36 if n % 6 == 5 else 5 - n // 4)
            sums.append(put_log(s3, "bad-logs", 20 * n, 20 * n + 10, at)[1])
            events = []
            for m in range(20 * n + 10, 20 * n + 20):
                line, counts = record_at(m, now())
                events.append({"timestamp": int(now().timestamp() * 1000), "message": line})
                sums.append(counts)
            logs.put_log_events(logGroupName="/bad", logStreamName="aws/bedrock/modelinvocations", logEvents=events)
            # A copy of what the group says goes to the bucket too: one call.
            if n % 8 == 0:
                s3.put_object(Bucket="bad-logs", Key=f"llm/copy-{n}.json", Body="\n".join(event["message"] for event in events))
            time.sleep(0.25)
        last.append(True)

    with flaky(env["AWS_ENDPOINT_URL"]) as (proxy, counts):
        config = work / "bad.toml"
        queue = url.replace(env["AWS_ENDPOINT_URL"], proxy)
        common = f'kind = "bedrock"\nregion = "{REGION}"\nendpoint = "{proxy}"\n'
        config.write_text(
            f'[[source]]\nname = "queued"\n{common}location = "s3://bad-logs/llm"\nqueue_url = "{queue}"\npoll_interval_s = 4\n'
            f'[[source]]\nname = "listed"\n{common}location = "s3://bad-logs/llm"\npoll_interval_s = 1\n'
            f'[[source]]\nname = "group"\n{common}location = "cloudwatch:///bad"\npoll_interval_s = 1\nstart_hours = 2\n'
        )
        data = work / "bad"
        writing = threading.Thread(target=write)
        writing.start()
        for _ in range(2):
            with Polymeter(data, work, env, config) as meter:
                time.sleep(3)
                meter.kill()
        with Polymeter(data, work, env, config) as meter:
            writing.join()
            took = until(lambda: meter.one(TOTALS) == add(*sums), 120)
            equal("every third request fails, two kills, hours turn, objects come late, by queue and listing: exact", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s after the last; {counts['failed']} of {counts['asked']} requests failed")
            # What the killed processes had taken comes again after two minutes; the other scenario waits for that.
            waiting = lambda: int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"])
            took = until(lambda: waiting() == 0, 60, 0.5)
            check("no message waits in the queue", took is not None, waiting())
            equal("and it stays exact", meter.one(TOTALS), add(*sums))
            # One whose first round has not succeeded yet is "starting".
            states = lambda: [source_of(meter, name).get("state") for name in ("queued", "listed", "group")]
            took = until(lambda: all(state in ("running", "retrying") for state in states()), 60, 0.2)
            check("no source has stopped", took is not None, states())
            counts["every"] = 0
            took = until(lambda: all(source_of(meter, name).get("state") == "running" for name in ("queued", "listed", "group")), 70, 0.5)
            check("all run once the endpoint is well", took is not None, f"{took or 0:.1f} s")
            check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def log_group(work, env, clients):
    logs = clients("logs")
    logs.create_log_group(logGroupName="/llm/bedrock")
    logs.create_log_stream(logGroupName="/llm/bedrock", logStreamName="aws/bedrock/modelinvocations")
    sums = []

    def put(first, last, at=None):
        at = at or now()
        events = []
        for n in range(first, last):
            line, counts = record_at(n, at)
            events.append({"timestamp": int(at.timestamp() * 1000) + n % 500, "message": line})
            sums.append(counts)
        for at in range(0, len(events), 500):
            logs.put_log_events(
                logGroupName="/llm/bedrock", logStreamName="aws/bedrock/modelinvocations", logEvents=events[at : at + 500]
            )

    events = [{"timestamp": int(now().timestamp() * 1000) - 7_200_000, "message": "Permissions are correctly set for Amazon Bedrock logs."}]
    logs.put_log_events(logGroupName="/llm/bedrock", logStreamName="aws/bedrock/modelinvocations", logEvents=events)
    put(0, 3000, now() - datetime.timedelta(hours=5))
    config = work / "group.toml"
    config.write_text(
        '[[source]]\nname = "group"\nkind = "bedrock"\nlocation = "cloudwatch:///llm/bedrock"\n'
        f'region = "{REGION}"\npoll_interval_s = 1\n'
    )
    data = work / "group"
    with Polymeter(data, work, env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == add(*sums), 60)
        equal("a log group: 3000 events of five hours ago", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        put(3000, 3010)
        took = until(lambda: meter.one(TOTALS) == add(*sums), 20)
        check("new events are in SQL", took is not None, f"{took or 0:.1f} s after PutLogEvents")
        # An event that comes minutes late lies behind every cursor.
        put(3010, 3015, now() - datetime.timedelta(minutes=8))
        took = until(lambda: meter.one(TOTALS) == add(*sums), 20)
        check("events that come eight minutes late are found", took is not None, f"{took or 0:.1f} s")
        meter.kill()
    put(3015, 3020)
    with Polymeter(data, work, env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == add(*sums), 30)
        equal("after kill -9 it goes on", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        time.sleep(3)
        rows = meter.one("SELECT count(*), count(DISTINCT observation_id) FROM observations")
        check("hardly a row was taken in twice", rows[0] - rows[1] <= 30, rows)
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
    day = now().strftime("%Y-%m-%d")
    place = f"cloudwatch:///llm/bedrock?region={REGION}&from={(now() - datetime.timedelta(days=1)):%Y-%m-%d}&to={day}T23:59:59Z"
    done = summary("bedrock", place, "--data", work / "backfill", env=env)
    found = {key: done[key] for key in ("records", "observations", "skipped", "quarantined", "duplicates")}
    equal("import of a time range", found, {"records": 3021, "observations": 3020, "skipped": 1, "quarantined": 0, "duplicates": 0})
    done = summary("bedrock", place, "--data", work / "backfill", env=env)
    equal("the second import says that all are duplicates", done["duplicates"], 3020)


def live_tail(work, env, clients):
    """Between two looks that are an hour apart. A session of moto shows all that the group holds, and is over."""
    logs = clients("logs")
    logs.create_log_group(logGroupName="/llm/live")
    logs.create_log_stream(logGroupName="/llm/live", logStreamName="aws/bedrock/modelinvocations")
    config = work / "live.toml"
    config.write_text(
        '[[source]]\nname = "live"\nkind = "bedrock"\nlocation = "cloudwatch:///llm/live"\nlive_tail = true\n'
        f'region = "{REGION}"\npoll_interval_s = 3600\n'
    )
    data, sums = work / "live", []

    def put(first, last):
        events = []
        for n in range(first, last):
            line, counts = record_at(n, now())
            events.append({"timestamp": int(now().timestamp() * 1000), "message": line})
            sums.append(counts)
        logs.put_log_events(logGroupName="/llm/live", logStreamName="aws/bedrock/modelinvocations", logEvents=events)

    with Polymeter(data, work, env, config) as meter:
        until(lambda: source_of(meter, "live").get("complete_to"), 30)
        put(0, 40)
        took = until(lambda: meter.one(TOTALS) == add(*sums), 40)
        equal("Live Tail shows calls between two looks", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        status = source_of(meter, "live")
        check("no look has read them", status.get("records") == 0 and status.get("state") == "running", status)
        check("that the session is over is told", "Live Tail" in (status["live_tail"]["last_error"] or ""), status)
        put(40, 60)
        took = until(lambda: meter.one(TOTALS) == add(*sums), 60)
        equal("the next session shows more, and the same once more", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        meter.kill()
    with Polymeter(data, work, env, config) as meter:
        until(lambda: source_of(meter, "live").get("records") == 60, 30)
        equal("a look reads all of them, and they count once", meter.one(TOTALS), add(*sums), source_of(meter, "live").get("records"))


def control_totals(work, env, clients):
    """The provider counted twice what was logged of one model, and a model that nobody logged."""
    cloudwatch, s3 = clients("cloudwatch"), clients("s3")
    s3.create_bucket(Bucket="covered")
    hour = (now() - datetime.timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    lines, tokens, calls = [], [0, 0], 0
    for n in range(0, 400, 4):  # one model
        line, (_, fresh_and_read, _, out) = record_at(n, hour + datetime.timedelta(minutes=n % 50))
        lines.append(line)
        tokens = [tokens[0] + fresh_and_read, tokens[1] + out]
        calls += 1
    model = json.loads(lines[0])["modelId"]
    key = f"AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/{REGION}/{hour:%Y/%m/%d/%H}/{hour:%Y%m%dT%H%M%S}000Z_0000000000000001.json.gz"
    s3.put_object(Bucket="covered", Key=key, Body=gzip.compress("\n".join(lines).encode()))

    def count(name, value, model, minute):
        cloudwatch.put_metric_data(
            Namespace="AWS/Bedrock",
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": "ModelId", "Value": model}],
                    "Timestamp": hour + datetime.timedelta(minutes=minute),
                    "Value": value,
                    "Unit": "Count",
                }
            ],
        )

    for minute in (3, 40):
        count("Invocations", calls, model, minute)
        count("InputTokenCount", tokens[0], model, minute)
        count("OutputTokenCount", tokens[1], model, minute)
    count("Invocations", 5, "cohere.command-r-v1:0", 20)
    count("InputTokenCount", 500, "cohere.command-r-v1:0", 20)
    endpoint, asked = bridge(cloudwatch)
    config = work / "totals.toml"
    config.write_text(
        '[[source]]\nname = "covered"\nkind = "bedrock"\nlocation = "s3://covered/"\n'
        f'[[source]]\nname = "totals"\nkind = "bedrock-metrics"\nregions = ["{REGION}"]\naccount = "{ACCOUNT}"\n'
        f'endpoint = "{endpoint}"\ndelay_s = 60\npoll_interval_s = 1\n'
    )
    with Polymeter(work / "covered", work, env, config) as meter:
        statement = "SELECT model, metered_calls, provider_calls, calls_share, tokens_share FROM coverage ORDER BY calls_share"
        until(lambda: len(meter.sql(statement)) == 2 and meter.one("SELECT count(*) FROM calls")[0] == calls, 30)
        found = [(row["metered_calls"], row["provider_calls"], row["calls_share"], row["tokens_share"]) for row in meter.sql(statement)]
        state = source_of(meter, f"totals/{REGION}")
        check("CloudWatch's counters are read", state.get("state") == "running" and "GetMetricData" in asked, state)
        equal("coverage shows what nobody logged, and half of the other", found, [(0, 5, 0.0, 0.0), (calls, 2 * calls, 0.5, 0.5)])
        with HTTP.open(f"http://{meter.http}/api/v1/queries/coverage") as answer:
            rows = json.load(answer)["rows"]
        equal("the named query shows the worst first", [row["calls_share"] for row in rows], [0.0, 0.5])


def other_account(work, env, clients):
    """A bucket of another account is read with a role there."""
    sts = clients("sts")
    role = "arn:aws:iam::222222222222:role/polymeter-read"
    keys = sts.assume_role(RoleArn=role, RoleSessionName="setup", ExternalId="ours")["Credentials"]
    theirs = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    theirs.create_bucket(Bucket="their-logs-222222222222")
    _, sums = put_log(theirs, "their-logs-222222222222", 0, 20)
    config = work / "role.toml"
    config.write_text(
        '[[source]]\nname = "fleet"\nkind = "bedrock"\nlocation = "s3://their-logs-{account}/llm"\n'
        'accounts = ["222222222222"]\nrole_arn = "arn:aws:iam::{account}:role/polymeter-read"\nexternal_id = "ours"\n'
        f'region = "{REGION}"\n'
    )
    with Polymeter(work / "role", work, env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == sums, 20)
        equal("a bucket of another account, with a role", meter.one(TOTALS), sums, f"{took or 0:.1f} s")
        check("its source is named after the account", source_of(meter, "fleet/222222222222").get("state") == "running", source_of(meter, "fleet/222222222222"))


def main():
    with folder() as work, moto(work) as env:
        os.environ.update({key: value for key, value in env.items() if key != "AWS_ENDPOINT_URL"})
        clients = lambda name: boto3.client(name, endpoint_url=env["AWS_ENDPOINT_URL"])
        control_totals(work, env, clients)
        other_account(work, env, clients)
        log_group(work, env, clients)
        live_tail(work, env, clients)
        bad_endpoint(work, env, clients)
        notifications(work, env, clients)


main()
