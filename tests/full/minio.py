"""MinIO: a second implementation of S3, on disk, with signatures. What s3.py checks, then a server that dies and comes back
below a source that follows a bucket, and below a store that two processes share."""

import contextlib
import datetime
import json
import os
import signal
import threading
import time

import boto3
import botocore.config
import botocore.exceptions

import s3
from harness import ENV, HTTP, TOTALS, Polymeter, add, check, equal, folder, free_port, now, polymeter, put_log, server, source_of, until

KEYS = ("polymeter", "polymeter-secret")
RETRIED = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)


class Minio:
    """A MinIO server that keeps its port and its disk when it is ended and started again."""

    def __init__(self, work):
        self.work, self.port, self.running = work, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
        }

    def ready(self):
        try:
            return HTTP.open(f"{self.url}/minio/health/live", timeout=2).status == 200
        except OSError:
            return False

    def start(self):
        command = [ENV / "bin/minio", "server", self.work / "minio", "--address", f"127.0.0.1:{self.port}", "--quiet"]
        own = {"MINIO_ROOT_USER": KEYS[0], "MINIO_ROOT_PASSWORD": KEYS[1], "MINIO_UPDATE": "off", "MINIO_BROWSER": "off"}
        self.running = contextlib.ExitStack()
        self.child = self.running.enter_context(server(command, self.ready, self.work / "minio.log", env=own))
        return self

    def kill(self):
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        self.running.close()

    def client(self):
        """Its own clients know that it may be away."""
        patient = botocore.config.Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=20)
        return boto3.client("s3", endpoint_url=self.url, config=patient, aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1])

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.running.close()


@contextlib.contextmanager
def minio(work):
    """A server for s3.py: yields the environment that makes clients use it."""
    with Minio(work) as one:
        yield one.env


def patiently(work):
    """Does it again until the server is there."""
    while True:
        try:
            return work()
        except RETRIED:
            time.sleep(0.3)


def tail(work, store, client):
    """A generator writes as Bedrock does, the hour turns, objects come late and copies too, while polymeter follows the bucket;
    it is killed, then the server is."""
    client.create_bucket(Bucket="tail-logs")
    sums, written = [put_log(client, "tail-logs", 0, 50, now() - datetime.timedelta(days=3))[1]], []

    def write():
        for n in range(36):
            # The hour turns every six objects; one in six comes a day and a half late.
            at = now() - datetime.timedelta(hours=36 if n % 6 == 5 else 5 - n // 6)
            key, more = patiently(lambda: put_log(client, "tail-logs", 100 + 20 * n, 120 + 20 * n, at))
            sums.append(more)
            folder_of = os.path.dirname(key)
            patiently(lambda: client.put_object(Bucket="tail-logs", Key=f"{folder_of}/data/{n}_input.json.gz", Body=b"x"))
            if n % 5 == 0:
                # The same records again in an object of their own: one call each.
                copy = {"Bucket": "tail-logs", "Key": key}
                patiently(lambda: client.copy_object(Bucket="tail-logs", Key=key.replace("Z_", "Z_c0"), CopySource=copy))
            time.sleep(0.4)
        written.append(True)

    config, data = work / "tail.toml", work / "tail"
    config.write_text('[[source]]\nname = "llm"\nkind = "bedrock"\nlocation = "s3://tail-logs/llm"\npoll_interval_s = 1\n')
    writing = threading.Thread(target=write, daemon=True)
    state = lambda: source_of(meter, "llm").get("state")
    with Polymeter(data, work, store.env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == sums[0], 60, 0.2)
        check("a source on MinIO: what was there is read", took is not None, f"{took or 0:.1f} s")
        writing.start()
        took = until(lambda: meter.one(TOTALS)[0] >= sums[0][0] + 60, 60, 0.2)
        check("what a generator writes is read", took is not None, meter.one(TOTALS))
        meter.kill()
    with Polymeter(data, work, store.env, config) as meter:
        time.sleep(2)
        store.kill()
        took = until(lambda: state() == "retrying", 60, 0.2)
        check("the server dies: the source says so", took is not None, source_of(meter, "llm").get("last_error", "")[:120])
        time.sleep(2)
        store.start()
        took = until(lambda: state() == "running", 90, 0.2)
        check("it comes back: the source goes on by itself", took is not None, f"{took or 0:.1f} s")
        check("SIGTERM while it reads ends it with exit code 0", meter.stop(), meter.process.returncode)
    with Polymeter(data, work, store.env, config) as meter:
        writing.join(300)
        check("the generator is done", bool(written))
        took = until(lambda: meter.one(TOTALS) == add(*sums), 90, 0.2)
        equal("two kills, turning hours, late objects, copies: totals are exact", meter.one(TOTALS), add(*sums), f"{add(*sums)}, {took or 0:.1f} s after the start")
        sums.append(put_log(client, "tail-logs", 5000, 5020, now() - datetime.timedelta(hours=40))[1])
        took = until(lambda: meter.one(TOTALS) == add(*sums), 60, 0.2)
        check("an object that comes forty hours late is read", took is not None, f"{took or 0:.1f} s")
        time.sleep(3)
        equal("and nothing is read twice", meter.one(TOTALS), add(*sums))
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def races(client):
    """What a store needs of S3: of eight who create one object, one wins."""
    client.create_bucket(Bucket="races")
    winners, lock = {}, threading.Lock()

    def create(key, who):
        try:
            client.put_object(Bucket="races", Key=key, Body=str(who).encode(), IfNoneMatch="*")
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                raise
            return
        with lock:
            winners.setdefault(key, []).append(who)

    for n in range(20):
        everybody = [threading.Thread(target=create, args=(f"key-{n}", who)) for who in range(8)]
        for one in everybody:
            one.start()
        for one in everybody:
            one.join()
    right = all(len(who) == 1 for who in winners.values()) and len(winners) == 20
    right = right and all(client.get_object(Bucket="races", Key=key)["Body"].read() == str(who[0]).encode() for key, who in winners.items())
    check("the server holds what a store needs: one of eight creators wins", right, {key: who for key, who in winners.items() if len(who) != 1})


def shared_store(work, store, client):
    """Two processes take calls in on one bucket and settle there, while the server dies and one of them does."""
    client.create_bucket(Bucket="shared")
    place, count = "s3://shared/store", "SELECT count(*), count(DISTINCT trace_id), sum(input_tokens) FROM calls"
    configs = {}
    for writer in ("left", "right"):
        configs[writer] = work / f"{writer}.toml"
        configs[writer].write_text(f'writer = "{writer}"\n[settle]\ninterval_s = 5\nhot_s = 15\n')
    begin = lambda writer: Polymeter(place, work, store.env, configs[writer])
    meters, done, sent, again = {}, threading.Event(), {"left": 0, "right": 0}, []

    def send(writer, kind):
        """Batches of ten, each until it is acknowledged; every fourth twice."""
        while not done.is_set():
            trace = f"{kind}{sent[writer]:031x}"
            tries = 0
            for _ in range(2 if sent[writer] % 4 == 0 else 1):
                while True:
                    try:
                        if s3.export(meters[writer], trace, 10):
                            break
                    except OSError:
                        tries += 1
                    time.sleep(0.3)
            again.append(tries)
            sent[writer] += 1
            time.sleep(0.1)

    with contextlib.ExitStack() as stack:
        meters["left"] = stack.enter_context(begin("left"))
        meters["right"] = stack.enter_context(begin("right"))
        senders = [threading.Thread(target=send, args=one, daemon=True) for one in (("left", "a"), ("right", "b"))]
        for one in senders:
            one.start()
        check("two processes take calls in on one bucket", until(lambda: min(sent.values()) >= 10, 60, 0.2) is not None, sent)
        time.sleep(8)
        store.kill()
        time.sleep(4)
        store.start()
        before = dict(sent)
        took = until(lambda: all(sent[writer] > before[writer] + 3 for writer in sent), 90, 0.2)
        check("the server dies and comes back: both go on without a restart", took is not None, f"{took or 0:.1f} s")
        meters["left"].kill()
        time.sleep(2)
        meters["left"] = stack.enter_context(begin("left"))
        before = dict(sent)
        check("one is killed and starts again", until(lambda: sent["left"] > before["left"] + 5, 60, 0.2) is not None)
        # Behind the horizon of fifteen seconds there is a ledger to settle into.
        time.sleep(10)
        done.set()
        for one in senders:
            one.join(120)
        batches = sum(sent.values())
        calls, wanted = 10 * batches, (10 * batches, batches, 1000 * batches)
        for writer, meter in meters.items():
            took = until(lambda: meter.one(count) == wanted, 60, 0.2)
            time.sleep(1)
            equal(f"every acknowledged call is there once ({writer})", meter.one(count), wanted, f"{calls} calls in {batches} batches, {sum(again)} tries more")
        check("some had to be sent again", sum(again) > 0, sum(again))
        found = json.loads(polymeter("sql", count, "--data", place, "--format", "json", env=store.env))
        equal("`polymeter sql` beside them agrees", tuple(found[0].values()), wanted)
        for meter in meters.values():
            check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
    store.kill()
    store.start()
    found = json.loads(polymeter("sql", count, "--data", place, "--format", "json", env=store.env))
    equal("after a kill of the server with everything at rest the store is whole", tuple(found[0].values()), wanted)


def main():
    s3.main(minio)
    with folder() as work, Minio(work) as store:
        client = store.client()
        races(client)
        tail(work, store, client)
        shared_store(work, store, client)


main()
