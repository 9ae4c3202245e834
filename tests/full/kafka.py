"""Apache Kafka with TLS and SASL, as Event Hubs' Kafka endpoint asks for: the halves of a request on different partitions, kills,
a broker that goes away, a wrong connection string, tokens of Entra, several replicas."""

import base64
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from harness import ENV, HTTP, TOTALS, Polymeter, azure_lines, bedrock_record, check, end, equal, folder, free_port, moto, until

SECRET = "Endpoint=sb://acme.example/;SharedAccessKeyName=read;SharedAccessKey=c2VjcmV0;EntityPath=logs"
JARS = str(ENV / "kafka-jars") + "/*"


def add(*all):
    return tuple(sum(column) for column in zip(*all))


class Broker:
    """One node, KRaft; it can be stopped and started again on the same data."""

    def __init__(self, work):
        self.work, self.port, self.plain, controller = work, free_port(), free_port(), free_port()
        store, password = work / "broker.p12", "changeit"
        self.ca = work / "broker.pem"
        run = lambda *words: subprocess.run([str(word) for word in words], check=True, capture_output=True)
        keytool = ["keytool", "-keystore", store, "-storepass", password, "-alias", "broker"]
        run(*keytool, "-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", "-validity", "30", "-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1,DNS:localhost")
        run(*keytool, "-exportcert", "-rfc", "-file", self.ca)
        self.properties = work / "server.properties"
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        self.properties.write_text(
            "\n".join(
                [
                    "process.roles=broker,controller",
                    "node.id=1",
                    f"controller.quorum.voters=1@127.0.0.1:{controller}",
                    f"listeners=SASL_SSL://127.0.0.1:{self.port},INTERNAL://127.0.0.1:{self.plain},CONTROLLER://127.0.0.1:{controller}",
                    f"advertised.listeners=SASL_SSL://127.0.0.1:{self.port},INTERNAL://127.0.0.1:{self.plain}",
                    "listener.security.protocol.map=SASL_SSL:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
                    "inter.broker.listener.name=INTERNAL",
                    "controller.listener.names=CONTROLLER",
                    "sasl.enabled.mechanisms=PLAIN,OAUTHBEARER",
                    f'listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required user_$ConnectionString="{SECRET}";',
                    f'listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={bearer} required unsecuredLoginStringClaim_sub="broker";',
                    f"ssl.keystore.location={store}",
                    f"ssl.keystore.password={password}",
                    f"ssl.key.password={password}",
                    "ssl.keystore.type=PKCS12",
                    f"log.dirs={work}/kafka",
                    "offsets.topic.replication.factor=1",
                    "offsets.topic.num.partitions=4",
                    "transaction.state.log.replication.factor=1",
                    "transaction.state.log.min.isr=1",
                    "group.initial.rebalance.delay.ms=0",
                    "group.min.session.timeout.ms=1000",
                ]
            )
        )
        self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", self.properties)
        self.process = None
        self.start()

    def java(self, *words):
        subprocess.run(["java", "-cp", JARS, *map(str, words)], check=True, capture_output=True, timeout=120)

    def start(self):
        with open(self.work / "kafka.log", "ab") as out:
            command = ["java", "-Xmx512m", "-cp", JARS, "kafka.Kafka", str(self.properties)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        self.admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.plain}", "log_level": 0})
        if until(self.answers, 90, 0.2) is None:
            sys.exit(f"kafka did not come up:\n{(self.work / 'kafka.log').read_text()[-3000:]}")

    def answers(self):
        with contextlib.suppress(Exception):
            return bool(self.admin.list_topics(timeout=2).brokers)
        return False

    def stop(self):
        end(self.process, 30)

    def topic(self, name, partitions):
        for future in self.admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result(30)
        until(lambda: len(self.admin.list_topics(name, timeout=5).topics[name].partitions) == partitions, 30, 0.1)

    def producer(self):
        return Producer({"bootstrap.servers": f"127.0.0.1:{self.plain}", "log_level": 0, "compression.type": "gzip", "linger.ms": 5})


def source(meter, name="hub"):
    with HTTP.open(f"http://{meter.http}/api/v1/sources") as answer:
        return json.load(answer)["sources"].get(name, {})


def config_of(work, broker, topic, more, kind="azure", file="kafka.toml", name="hub", head=""):
    path = work / file
    path.write_text(
        f'{head}[[source]]\nname = "{name}"\nkind = "{kind}"\nlocation = "kafka://127.0.0.1:{broker.port}/{topic}"\n'
        f'ca_file = "{broker.ca}"\npoll_interval_s = 1\n{more}'
    )
    return path


def send(broker, topic, first, last, partitions=4):
    """Requests (below 3,600: their rows are of one hour) as Event Hubs gets them: several rows in one message, the rows of a
    request on different partitions."""
    producer, sums, halves = broker.producer(), (0, 0, 0, 0), [[] for _ in range(partitions)]
    for n in range(first, last):
        rows, counts = azure_lines(n)
        sums = add(sums, counts)
        for m, row in enumerate(rows):
            halves[(n + m) % partitions].append(json.loads(row))
    for partition, rows in enumerate(halves):
        random.Random(first).shuffle(rows)
        for at in range(0, len(rows), 7):
            producer.produce(topic, json.dumps({"records": rows[at : at + 7]}), partition=partition)
    if producer.flush(30):
        raise RuntimeError("messages were not taken")
    return sums


def connection_string(work, broker):
    broker.topic("logs", 4)
    secret = work / "connection"
    secret.write_text(SECRET.replace("c2VjcmV0", "d3Jvbmc="))
    config = config_of(work, broker, "logs", 'auth = "connection_string"\nsecret_file = "connection"\n')
    data, sums = work / "data", [send(broker, "logs", 0, 200)]
    with Polymeter(data, work, None, config) as meter:
        took = until(lambda: source(meter)["state"] == "retrying", 20, 0.1)
        error = source(meter).get("last_error") or ""
        check("a wrong connection string is shown", took is not None and "credentials" in error, error)
        check("and is not quoted", "SharedAccessKey" not in error + meter.log.read_text())
        secret.write_text(SECRET)
        took = until(lambda: meter.one(TOTALS) == sums[0], 70, 0.1)
        equal("the right one is taken without a restart; halves on different partitions are one call", meter.one(TOTALS), sums[0], f"{took or 0:.1f} s")
        until(lambda: source(meter).get("complete_to"), 20, 0.1)
        state = source(meter)
        check("it says how far it is", state["state"] == "running" and state["complete_to"] is not None, state)
        begun = time.monotonic()
        sums.append(send(broker, "logs", 200, 210))
        until(lambda: meter.one(TOTALS) == add(*sums), 20)
        check("a new message is in SQL", meter.one(TOTALS) == add(*sums), f"{time.monotonic() - begun:.2f} s with sending it")

        def write():
            for n in range(30):
                sums.append(send(broker, "logs", 1000 + 50 * n, 1000 + 50 * n + 50))

        writing = threading.Thread(target=write)
        writing.start()
        time.sleep(1)
        meter.kill()
    with Polymeter(data, work, None, config) as meter:
        time.sleep(0.5)
        meter.kill()
    with Polymeter(data, work, None, config) as meter:
        writing.join()
        took = until(lambda: meter.one(TOTALS) == add(*sums), 90, 0.1)
        equal("two kills under load: totals are exact", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s after the last message")
        rows = meter.one("SELECT count(*), count(DISTINCT observation_id) FROM observations")
        check("rows that were taken in twice", rows[1] == 2 * add(*sums)[0], rows)
        broker.stop()
        took = until(lambda: source(meter)["state"] == "retrying", 60, 0.1)
        check("a broker that is gone is shown", took is not None, f"{took or 0:.1f} s, {source(meter).get('last_error')}")
        broker.start()
        sums.append(send(broker, "logs", 2600, 2650))
        took = until(lambda: meter.one(TOTALS) == add(*sums) and source(meter)["state"] == "running", 120, 0.1)
        equal("when it is back it goes on", meter.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
        before = meter.one("SELECT count(*) FROM observations")[0]
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
    with Polymeter(data, work, None, config) as meter:
        until(lambda: source(meter).get("complete_to"), 60, 0.1)
        equal("after an orderly restart nothing is read again", meter.one("SELECT count(*) FROM observations")[0], before)
        poison = broker.producer()
        poison.produce("logs", b"this is no record", partition=0)
        poison.produce("logs", None, key=b"tombstone", partition=0)
        poison.flush(10)
        took = until(lambda: meter.one("SELECT count(*) FROM quarantine")[0] == 1, 20, 0.1)
        found = meter.sql("SELECT object, reason FROM quarantine")
        check("a message that is no record is set aside with its partition", took is not None and found[0]["object"] == "kafka:logs/0", found)
        sums.append(send(broker, "logs", 2700, 2710))
        until(lambda: meter.one(TOTALS) == add(*sums), 20)
        equal("and what follows is read", meter.one(TOTALS), add(*sums))


@contextlib.contextmanager
def entra():
    """Gives tokens as Entra does, unsigned ones that the broker's default validator takes, good for a few seconds."""
    given = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
            now = time.time()
            token = f"{part({'alg': 'none'})}.{part({'sub': 'polymeter', 'iat': now, 'exp': now + 320})}."
            given.append(form)
            body = json.dumps({"access_token": token, "expires_in": 320}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", given
    finally:
        server.shutdown()


def bearer(work, broker):
    broker.topic("bearer", 2)
    (work / "client-secret").write_text("s3cret")
    with entra() as (url, given):
        more = f'auth = "client_secret"\ntenant_id = "t"\nclient_id = "c"\nsecret_file = "client-secret"\nauthority = "{url}"\n'
        config = config_of(work, broker, "bearer", more, file="bearer.toml")
        sums = send(broker, "bearer", 0, 30, 2)
        with Polymeter(work / "bearer", work, None, config) as meter:
            took = until(lambda: meter.one(TOTALS) == sums, 40, 0.1)
            equal("OAUTHBEARER with a token of Entra", meter.one(TOTALS), sums, f"{took or 0:.1f} s")
            scope = "scope=https%3A%2F%2F127.0.0.1%2F.default"
            check("it asked for the namespace's scope", given and scope in given[0], given[:1])
            # It is used until five minutes before it expires, and these are over after twenty seconds.
            took = until(lambda: len(given) > 1, 60, 0.5)
            check("a new token is fetched before the old one expires", took is not None, f"{len(given)} tokens")
            sums = add(sums, send(broker, "bearer", 30, 40, 2))
            until(lambda: meter.one(TOTALS) == sums, 20, 0.1)
            equal("and it goes on", meter.one(TOTALS), sums)


def replicas(work, broker):
    """Two processes of one group on one store; one is killed, the other takes its partitions; it comes back."""
    broker.topic("fleet", 6)
    os.environ["KAFKA_CONNECTION"] = SECRET
    sums = []

    def settings(writer):
        head = f'writer = "{writer}"\n[settle]\ninterval_s = 2\nhot_s = 900\n'
        return config_of(work, broker, "fleet", 'auth = "connection_string"\nsecret_env = "KAFKA_CONNECTION"\ngroup = "fleet"\n', kind="bedrock", file=f"{writer}.toml", head=head)

    def write(first, last):
        producer = broker.producer()
        for n in range(first, last):
            record, counts = bedrock_record(n)
            sums.append(counts)
            producer.produce("fleet", json.dumps(record), partition=n % 6)
        producer.flush(30)

    records = lambda meter: source(meter).get("records", 0)
    with moto(work) as env:
        import boto3

        boto3.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b").create_bucket(Bucket="fleet-store")
        place = "s3://fleet-store/data"
        with Polymeter(place, work, env, settings("one")) as one:
            write(0, 60)
            took = until(lambda: one.one(TOTALS) == add(*sums), 60, 0.2)
            equal("a replica alone reads all partitions", one.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
            with Polymeter(place, work, env, settings("two")) as two:
                until(lambda: source(two).get("complete_to"), 60, 0.2)
                write(60, 240)
                took = until(lambda: one.one(TOTALS) == add(*sums) == two.one(TOTALS), 90, 0.2)
                equal("two replicas share them: exact on both", (one.one(TOTALS), two.one(TOTALS)), (add(*sums), add(*sums)), f"{took or 0:.1f} s")
                shares = (records(one), records(two))
                check("both took part", shares[1] > 0 and shares[0] > 60, shares)
                check("hardly a message was read twice", sum(shares) <= 240 + 60, shares)
                two.kill()
            write(240, 300)
            took = until(lambda: one.one(TOTALS) == add(*sums), 120, 0.2)
            equal("after a kill -9 the other takes all", one.one(TOTALS), add(*sums), f"{took or 0:.1f} s")
            with Polymeter(place, work, env, settings("two")) as two:
                until(lambda: source(two).get("complete_to"), 60, 0.2)
                write(300, 360)
                took = until(lambda: one.one(TOTALS) == add(*sums) == two.one(TOTALS), 90, 0.2)
                equal("the killed one comes back: exact on both", (one.one(TOTALS), two.one(TOTALS)), (add(*sums), add(*sums)), f"{took or 0:.1f} s")


def main():
    with folder() as work:
        broker = Broker(pathlib.Path(work))
        try:
            connection_string(work, broker)
            bearer(work, broker)
            replicas(work, broker)
        finally:
            broker.stop()


main()
