"""Other engines read the ledger: ClickHouse (chdb) with both of its Delta readers, DuckDB's `delta` extension, or the
Python `deltalake` package, whichever is installed."""

import importlib.util
import json
import os
import pathlib
from decimal import Decimal

from harness import azure_lines, bedrock_objects, check, equal, folder, polymeter, summary

QUERY = (
    "SELECT coalesce(platform, '') AS platform, coalesce(team, '') AS team, coalesce(model, '') AS model, count(*) AS calls,"
    " CAST(sum(input_tokens) AS BIGINT) AS input, CAST(sum(output_tokens) AS BIGINT) AS output,"
    " CAST(coalesce(sum(cost), 0) AS DECIMAL(38, 12)) AS cost FROM {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)
TEAMS = """[attribution.principals]
"checkout-api" = "checkout"
"search-api" = "search"
"""


def by_clickhouse(kernel):
    """ClickHouse's reader on delta-kernel-rs, or its own of old."""

    def read(table):
        from chdb.session import Session

        # It reads files below the current folder only.
        os.chdir(table.parent)
        settings = f" SETTINGS allow_delta_kernel_rs = {kernel}, output_format_json_quote_decimals = 1"
        with Session() as session:
            answer = str(session.query(QUERY.format(f"deltaLakeLocal('{table}')") + settings, "JSONEachRow"))
        rows = [tuple(json.loads(line).values()) for line in answer.splitlines()]
        return [(*row[:6], Decimal(row[6])) for row in rows]

    return read


def by_duckdb(table):
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    con = duckdb.connect()
    con.sql("LOAD delta")
    return con.sql(QUERY.format(f"delta_scan('{table}')")).fetchall()


def by_deltalake(table):
    from deltalake import DeltaTable, QueryBuilder

    answer = QueryBuilder().register("ledger", DeltaTable(str(table))).execute(QUERY.format("ledger")).read_all()
    columns = [[getattr(value, "as_py", lambda value=value: value)() for value in answer.column(n)] for n in range(7)]
    return list(zip(*columns))


def readers():
    """Name and function of each reader of this environment."""
    if importlib.util.find_spec("chdb"):
        return [("ClickHouse", by_clickhouse(1)), ("ClickHouse without delta-kernel", by_clickhouse(0))]
    if importlib.util.find_spec("duckdb"):
        return [("DuckDB", by_duckdb)]
    return [("deltalake", by_deltalake)]


def plain(rows):
    """Comparable across engines: text, integers, and money as exact text."""
    return [(*row[:3], *map(int, row[3:6]), f"{row[6]:.12f}") for row in rows]


def main():
    with folder() as work:
        data, logs, teams = work / "data", work / "logs", work / "teams.toml"
        teams.write_text(TEAMS)
        objects, _ = bedrock_objects(5000, 10)
        lines = [line for n in range(700) for line in azure_lines(n)[0]]
        objects["azure/PT1H.json"] = "".join(lines).encode()
        for key, body in objects.items():
            path = logs / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        where = ("--data", data, "--config", teams)
        summary("bedrock", logs / "AWSLogs", *where)
        summary("azure", logs / "azure", *where)
        # Again: slices are rewritten, so that files which the log has removed lie beside the valid ones.
        summary("bedrock", logs / "AWSLogs", *where)
        ours = json.loads(polymeter("sql", QUERY.format("calls"), "--data", data, "--format", "json"), parse_float=Decimal)
        ours = [(*list(row.values())[:6], Decimal(row["cost"])) for row in ours]
        total, found = sum(row[3] for row in ours), {row[1] for row in ours}
        check("the ledger has something to read", total == 5700 and found == {"", "checkout", "search"}, f"{total} calls, teams {sorted(found)}")
        files = len(list(pathlib.Path(data / "calls").rglob("*.parquet")))
        for name, read in readers():
            try:
                theirs = read(data / "calls")
            except Exception as error:  # An engine that can't read the table is a finding, not the end of the part.
                check(f"{name} reads the ledger", False, str(error)[:500])
                continue
            equal(f"{name} agrees per platform, team and model", plain(theirs), plain(ours), f"{len(ours)} rows of calls, tokens and cost")
            check(f"{name} reads through the log", total == sum(row[3] for row in theirs), f"{files} files on disk")


main()
