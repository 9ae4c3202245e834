"""Both protocols, fed with what no client sends: changed, cut and doubled bytes of real conversations. POLYMETER_FUZZ_S says for
how long (10 s by default); the seed is printed and can be given as POLYMETER_SEED."""

import os
import random
import socket
import struct
import threading
import time

from harness import Polymeter, check, folder, polymeter
from postgres import prepare

SECONDS = float(os.environ.get("POLYMETER_FUZZ_S", "10"))
SEED = int(os.environ.get("POLYMETER_SEED", str(random.SystemRandom().randrange(1 << 32))))

STATEMENTS = [
    "SELECT count(*) FROM calls", "SELECT * FROM calls WHERE ts >= now() - interval '1 hour' LIMIT 5", "SELECT $1::text, $2::bigint",
    "SELECT platform, sum(cost) FROM calls GROUP BY 1 ORDER BY 2 DESC", "SHOW TABLES", "SET x = 1", "BEGIN", "COMMIT",
    "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind IN ('r','v')", "EXPLAIN SELECT 1", "SELECT '\u00e9\U0001f600'",
    "SELECT date_bin(interval '5 minutes', ts) FROM calls GROUP BY 1", "WITH a AS (SELECT 1 x) SELECT * FROM a, a b", ";;;", "",
    "SELECT model_name('openai', 'gpt-4o', NULL, NULL)", "SELECT CASE WHEN true THEN ARRAY[1,2] END", "SELECT 1 FROM calls a JOIN calls b ON a.ts = b.ts",
    "SELECT * FROM what_if(platform => 'aws.bedrock')", "SELECT rate(1, interval '1 second')", "DROP TABLE calls",
]


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def startup():
    body = struct.pack("!i", 196608) + text("user") + text("fuzz") + text("database") + text("polymeter") + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def conversation(dice):
    """A conversation as a driver has it."""
    sql = dice.choice(STATEMENTS)
    value = dice.choice([b"x", b"42", b"\0\0\0\0\0\0\0\x2a", b""])
    kinds = [
        message(b"Q", text(sql)),
        message(b"P", text("s") + text(sql) + struct.pack("!hi", 1, dice.choice([0, 20, 25, 1184, 1700]))),
        message(b"B", text("") + text("s") + struct.pack("!hhhi", 1, dice.choice([0, 1]), 1, len(value)) + value + struct.pack("!hh", 1, dice.choice([0, 1]))),
        message(b"D", b"S" + text("s")), message(b"D", b"P" + text("")), message(b"E", text("") + struct.pack("!i", dice.choice([0, 1, 100]))),
        message(b"C", b"S" + text("s")), message(b"S"), message(b"H"),
    ]
    return [startup()] + [dice.choice(kinds) for _ in range(dice.randrange(1, 8))] + [message(b"S"), message(b"X")]


def request(dice):
    sql = dice.choice(STATEMENTS).replace('"', "'")
    bodies = [f'{{"sql": "{sql}", "params": [], "format": "{dice.choice(["json", "csv", "arrow", "parquet", "xml"])}"}}', sql, "", "[]", '{"sql": 1}']
    body = dice.choice(bodies).encode()
    paths = [
        "/api/v1/sql", "/api/v1/sql?q=SELECT+1", "/api/v1/queries", "/api/v1/queries/overview?from=2026-10-01", "/api/v1/queries/%00",
        "/api/v1/reports/chargeback?month=2026-10", "/api/v1/reports/what-if?month=2026-10&platform=openai", "/api/v1/sources", "/readyz",
        "/metrics", "/", "/api/v1/exports/focus?month=2026-10", "/../../etc/passwd", "/api/v1/queries/overview?limit=-1",
    ]
    head = f"{dice.choice(['GET', 'POST', 'PUT', 'OPTIONS', 'BREW'])} {dice.choice(paths)} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    extra = ["", "accept-encoding: zstd, gzip\r\n", "accept: text/csv\r\n", "authorization: Basic !!\r\n", "x-request-id: a\r\n", "expect: 100-continue\r\n", "transfer-encoding: chunked\r\n"]
    return [head.encode() + dice.choice(extra).encode() + b"connection: close\r\n\r\n" + body]


def spoiled(dice, pieces):
    """Some of the bytes changed, left out, doubled, or in another order."""
    pieces = list(pieces)
    for _ in range(dice.randrange(0, 4)):
        if len(pieces) > 1 and dice.random() < 0.3:
            at = dice.randrange(len(pieces))
            pieces.insert(dice.randrange(len(pieces)), pieces[at] if dice.random() < 0.5 else pieces.pop(at))
            continue
        at = dice.randrange(len(pieces))
        raw = bytearray(pieces[at])
        if not raw:
            continue
        place = dice.randrange(len(raw))
        what = dice.randrange(5)
        if what == 0:
            raw[place] = dice.randrange(256)
        elif what == 1:
            del raw[place:]
        elif what == 2:
            raw[place:place] = bytes(dice.randrange(256) for _ in range(dice.choice([1, 4, 40])))
        elif what == 3:
            raw[place:place + 4] = struct.pack("!i", dice.choice([-1, 0, 1, 255, 65535, 1 << 30, -(1 << 31)]))
        else:
            raw = raw * dice.choice([2, 3])
        pieces[at] = bytes(raw)
    return pieces


def feed(address, pieces):
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=10) as one:
            one.settimeout(2)
            for piece in pieces:
                one.sendall(piece)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass
    except OSError:
        pass


with folder() as work:
    polymeter("import", "bedrock", prepare(work), "--data", work / "data")
    with Polymeter(work / "data", work) as server:
        ends, counts = time.monotonic() + SECONDS, {"http": 0, "pg": 0}

        def run(number):
            dice = random.Random(SEED + number)
            while time.monotonic() < ends and server.process.poll() is None:
                name, address, make = (("pg", server.pg, conversation), ("http", server.http, request))[number % 2]
                feed(address, spoiled(dice, make(dice)))
                counts[name] += 1

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        note = f"seed {SEED}, {SECONDS:.0f} s, {counts['http']} requests, {counts['pg']} conversations, {server.memory('VmHWM')} MiB at most"
        log = server.log.read_text()
        check("it goes on", server.process.poll() is None, note)
        check("nothing panicked", "panicked" not in log, log[log.find("panicked") - 300:][:1500] if "panicked" in log else "")
        check("it answers as before", server.one("SELECT count(*) AS n FROM calls") == (20,))
