"""The PostgreSQL wire with the drivers that people use: psql, psycopg, asyncpg, SQLAlchemy, node-postgres, JDBC."""

import asyncio
import datetime
import decimal
import json
import os
import pathlib
import shutil
import subprocess

from harness import ENV, Polymeter, check, folder, polymeter
from panels import expanded, panels

HERE = pathlib.Path(__file__).parent

STATEMENT = "SELECT platform, count(*) AS calls, sum(cost) AS cost, max(ts) AS last FROM calls GROUP BY 1 ORDER BY 1"


def prepare(work):
    """A store with some calls, written by the importer from made-up records."""
    log = work / "log.json"
    rows = []
    for n in range(20):
        rows.append(json.dumps({
            "schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": f"2026-10-01T00:00:{n:02}Z",
            "accountId": "123456789012", "region": "us-east-1", "requestId": f"00000000-0000-4000-8000-{n:012}",
            "operation": "InvokeModel", "modelId": "anthropic.claude-3-5-sonnet-20240620-v1:0",
            "identity": {"arn": "arn:aws:iam::123456789012:role/search"},
            "input": {"inputContentType": "application/json", "inputTokenCount": 100 + n},
            "output": {"outputContentType": "application/json", "outputTokenCount": 10},
        }))
    log.write_text("\n".join(rows) + "\n")
    return log


def psycopg_part(dsn):
    import psycopg

    with psycopg.connect(dsn) as connection:
        rows = connection.execute(STATEMENT).fetchall()
        check("psycopg: types", rows[0][1] == 20 and isinstance(rows[0][2], decimal.Decimal) and rows[0][3].tzinfo is not None, rows)
        since = datetime.datetime(2026, 10, 1, 0, 0, 10, tzinfo=datetime.timezone.utc)
        count = connection.execute("SELECT count(*) FROM calls WHERE ts >= %s AND platform = %s", (since, "aws.bedrock")).fetchone()
        check("psycopg: parameters", count == (10,), count)
        count = connection.execute("SELECT count(*) FROM calls WHERE platform = ANY(%s)", (["aws.bedrock", "x"],)).fetchone()
        check("psycopg: list parameters", count == (20,), count)
        with connection.cursor(binary=True) as cursor:
            row = cursor.execute("SELECT sum(cost), max(ts), count(*), witnesses FROM calls GROUP BY witnesses").fetchone()
            check("psycopg: binary results", row[:3] == (rows[0][2], rows[0][3], 20) and row[3] == ["bedrock"], row)
            tags = cursor.execute("SELECT tags FROM calls LIMIT 1").fetchone()[0]
            check("psycopg: maps as JSON", tags is None or isinstance(tags, dict), tags)
        connection.commit()
        for _ in range(7):  # after five times the driver prepares it
            again = connection.execute("SELECT count(*) FROM calls WHERE input_tokens > %s", (105,)).fetchone()
        check("psycopg: prepared after repetition", again == (14,), again)
        connection.rollback()
        try:
            connection.execute("DELETE FROM calls")
            check("psycopg: writes are refused", False)
        except psycopg.errors.ReadOnlySqlTransaction as error:
            check("psycopg: writes are refused", "SELECT" in (error.diag.message_hint or ""), error.diag.message_hint)
        connection.rollback()
        with psycopg.connect(dsn) as slow:
            slow.execute("SET statement_timeout = '500ms'")
            try:
                slow.execute("SELECT count(*) FROM generate_series(1, 100000000000) AS a(n) WHERE n % 7 = 8")
                check("psycopg: statement_timeout", False)
            except psycopg.errors.QueryCanceled:
                check("psycopg: statement_timeout", True)


async def asyncpg_part(dsn):
    import asyncpg

    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=4)
    async with pool.acquire() as connection:
        rows = await connection.fetch(STATEMENT)
        check("asyncpg: types", rows[0]["calls"] == 20 and isinstance(rows[0]["cost"], decimal.Decimal), rows)
        since = datetime.datetime(2026, 10, 1, 0, 0, 10, tzinfo=datetime.timezone.utc)
        count = await connection.fetchval("SELECT count(*) FROM calls WHERE ts >= $1 AND input_tokens >= $2", since, 105)
        check("asyncpg: parameters", count == 10, count)
        row = await connection.fetchrow("SELECT witnesses, tags, day FROM calls LIMIT 1")
        check("asyncpg: arrays, json and dates", row["witnesses"] == ["bedrock"] and row["day"] == datetime.date(2026, 10, 1), row)
        async with connection.transaction():
            seen = [record["n"] async for record in connection.cursor("SELECT n FROM generate_series(1, 250) AS a(n) ORDER BY n", prefetch=50)]
        check("asyncpg: cursor", seen == list(range(1, 251)), len(seen))
        try:
            slow = "SELECT count(*) FROM generate_series(1, 100000000000) AS a(n) WHERE n % 7 = 8"
            await connection.fetchval(slow, timeout=1)
            check("asyncpg: cancel on timeout", False)
        except asyncio.TimeoutError:
            check("asyncpg: cancel on timeout", await connection.fetchval("SELECT 1") == 1)
    async with pool.acquire() as connection:  # after the pool reset the session
        check("asyncpg: pool", await connection.fetchval("SELECT count(*) FROM calls") == 20)
    await asyncio.gather(*(pool.fetchval("SELECT count(*) FROM calls") for _ in range(20)))
    check("asyncpg: twenty at once", True)
    await pool.close()


def sqlalchemy_part(dsn):
    import sqlalchemy as sa

    engine = sa.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    inspector = sa.inspect(engine)
    tables = set(inspector.get_table_names())
    check("SQLAlchemy: tables", {"calls", "observations", "quarantine", "provider_metrics"} <= tables, tables)
    views = set(inspector.get_view_names())
    check("SQLAlchemy: views", "gateway_events" in views, views)
    columns = {column["name"]: column["type"] for column in inspector.get_columns("calls")}
    good = isinstance(columns["ts"], sa.TIMESTAMP) and isinstance(columns["cost"], sa.Numeric) and isinstance(columns["input_tokens"], sa.BigInteger)
    check("SQLAlchemy: columns", good, columns)
    keys = (inspector.get_pk_constraint("calls")["constrained_columns"], inspector.get_indexes("calls"), inspector.get_foreign_keys("calls"))
    check("SQLAlchemy: there are no keys and no indexes", keys == ([], [], []), keys)
    whole = sa.MetaData()
    whole.reflect(engine, views=True)
    check("SQLAlchemy: reflects everything", {"calls", "coverage"} <= set(whole.tables), sorted(whole.tables))
    calls = sa.Table("calls", sa.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        query = sa.select(calls.c.platform, sa.func.sum(calls.c.cost)).where(calls.c.input_tokens > 100).group_by(calls.c.platform)
        rows = connection.execute(query.limit(5)).fetchall()
        check("SQLAlchemy: reflected table", len(rows) == 1 and rows[0][0] == "aws.bedrock", rows)


def psql_part(dsn):
    if not shutil.which("psql"):
        return print("skipped postgres: psql is not installed")
    for command in (r"\d", r"\d calls", r"\dt", r"\dv", r"\dn", r"\l", r"\du", r"\df version", r"\dt+", r"\d+ calls", r"\d+", r"\dn+", r"\di", STATEMENT):
        done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", command, dsn], capture_output=True, text=True, timeout=60)
        check(f"psql: {command[:30]}", done.returncode == 0, done.stderr.strip()[:300])


def node_part(dsn):
    modules = ENV / "npm" / "node_modules" / "pg"
    if not (shutil.which("node") and modules.is_dir()):
        return print("skipped postgres: node-postgres is not installed")
    script = """
const { Client, Pool } = require('pg');
(async () => {
  const pool = new Pool({ connectionString: process.argv[1] });
  const one = await pool.query(process.argv[2]);
  const two = await pool.query({ name: 'named', text: 'SELECT count(*) AS n FROM calls WHERE ts >= $1 AND input_tokens >= $2', values: [new Date('2026-10-01T00:00:10Z'), 105] });
  const three = await pool.query({ name: 'named', text: 'SELECT count(*) AS n FROM calls WHERE ts >= $1 AND input_tokens >= $2', values: [new Date('2026-10-01T00:00:15Z'), 105] });
  const list = await pool.query('SELECT witnesses, tags FROM calls LIMIT 1');
  const all = await Promise.all(Array.from({ length: 20 }, () => pool.query('SELECT count(*) AS n FROM calls')));
  let code; try { await pool.query('DROP TABLE calls'); } catch (error) { code = error.code; }
  console.log(JSON.stringify([one.rows, two.rows, three.rows, list.rows, all.length, code, one.rows[0].last instanceof Date]));
  await pool.end();
})().catch((error) => { console.error(error); process.exit(1); });
"""
    done = subprocess.run(["node", "-e", script, dsn, STATEMENT], capture_output=True, text=True, timeout=60, env={"NODE_PATH": str(modules.parent), "PATH": "/usr/bin:/bin:/usr/local/bin"})
    check("node-postgres: answers", done.returncode == 0, done.stderr[:500])
    if done.returncode == 0:
        one, two, three, listed, many, code, is_date = json.loads(done.stdout)
        check("node-postgres: types", one[0]["calls"] == "20" and is_date and listed[0]["witnesses"] == ["bedrock"], (one, listed))
        check("node-postgres: named statements", (two[0]["n"], three[0]["n"], many, code) == ("10", "5", 20, "25006"), (two, three, code))


def dashboards_part(dsn):
    """What Grafana asks, with each driver."""
    start = datetime.datetime(2026, 10, 1, tzinfo=datetime.timezone.utc)
    asked = sorted({expanded(text, start, start + datetime.timedelta(days=1)) for _, _, text in panels("postgres")})
    check("dashboards: there are panels", len(asked) > 20, len(asked))

    def psycopg_all():
        import psycopg

        with psycopg.connect(dsn) as connection:
            for sql in asked:
                connection.execute(sql).fetchall()

    async def asyncpg_all():
        import asyncpg

        connection = await asyncpg.connect(dsn)
        for sql in asked:
            await connection.fetch(sql)
        await connection.close()

    def run(command, **more):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, **more)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[:600])

    node = """
const { Client } = require('pg');
(async () => {
  const client = new Client({ connectionString: process.argv[1] });
  await client.connect();
  for (const sql of JSON.parse(require('fs').readFileSync(0))) await client.query(sql);
  await client.end();
})().catch((error) => { console.error(error); process.exit(1); });
"""
    ways = {"psycopg": psycopg_all, "asyncpg": lambda: asyncio.run(asyncpg_all())}
    if shutil.which("psql"):
        ways["psql"] = lambda: run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn], input=";\n".join(asked) + ";\n")
    if shutil.which("node") and (ENV / "npm/node_modules/pg").is_dir():
        env = {**os.environ, "NODE_PATH": str(ENV / "npm/node_modules")}
        ways["node-postgres"] = lambda: run(["node", "-e", node, dsn], input=json.dumps(asked), env=env)
    for name, way in ways.items():
        try:
            way()
            check(f"dashboards: every panel's statement by {name}", True, f"{len(asked)} statements")
        except Exception as error:
            check(f"dashboards: every panel's statement by {name}", False, f"{type(error).__name__}: {error}"[:800])


def jdbc_part(address):
    jar = next(iter(sorted((ENV / "jdbc").glob("postgresql-*.jar"))), None)
    if not (jar and shutil.which("java")):
        return print("skipped postgres: no java, or no JDBC driver")
    command = ["java", "-cp", str(jar), str(HERE / "Jdbc.java"), f"jdbc:postgresql://{address}/polymeter?user=tester"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    check("JDBC: metadata, fetch size, parameters", done.returncode == 0 and "ok" in done.stdout, (done.stdout + done.stderr)[-800:])


def main():
    with folder() as work:
        log, data = prepare(work), work / "data"
        polymeter("import", "bedrock", log, "--data", data)
        with Polymeter(data, work) as meter:
            dsn = f"postgresql://tester@{meter.pg}/polymeter"
            parts = [psql_part, psycopg_part, lambda dsn: asyncio.run(asyncpg_part(dsn)), sqlalchemy_part, node_part, dashboards_part]
            for part in [*parts, lambda _: jdbc_part(meter.pg)]:
                try:
                    part(dsn)
                except Exception as error:  # A driver that stops is a finding, not the end of the others.
                    check("goes on", False, f"{type(error).__name__}: {error}"[:600])


if __name__ == "__main__":
    main()
