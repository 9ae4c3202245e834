"""Other engines read the ledger: DuckDB's `delta` extension, or the Python `deltalake` package, whichever is installed."""

import json
import pathlib

from harness import azure_lines, bedrock_objects, check, equal, folder, polymeter, summary

QUERY = (
    "SELECT platform, coalesce(model, '') AS model, count(*) AS calls, CAST(sum(input_tokens) AS BIGINT) AS input,"
    " CAST(sum(output_tokens) AS BIGINT) AS output, CAST(coalesce(sum(cost), 0) AS DECIMAL(38, 12)) AS cost"
    " FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
)


def by_duckdb(table):
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    con = duckdb.connect()
    con.sql("LOAD delta")
    return con.sql(QUERY.format(f"delta_scan('{table}')")).fetchall()


def by_deltalake(table):
    from deltalake import DeltaTable, QueryBuilder

    query = QUERY.format("ledger").replace("DECIMAL(38, 12)", "DECIMAL(38, 12)")
    answer = QueryBuilder().register("ledger", DeltaTable(str(table))).execute(query).read_all()
    columns = [list(map(lambda value: getattr(value, "as_py", lambda: value)(), answer.column(n))) for n in range(6)]
    return list(zip(*columns))


def plain(rows):
    """Comparable across engines: text, integers, and money as exact text."""
    return [(*row[:2], *map(int, row[2:5]), f"{row[5]:.12f}") for row in rows]


def main():
    try:
        import duckdb as _  # noqa: F401

        name, read = "DuckDB", by_duckdb
    except ImportError:
        name, read = "deltalake", by_deltalake
    with folder() as work:
        data, logs = work / "data", work / "logs"
        objects, _ = bedrock_objects(5000, 10)
        lines = [line for n in range(700) for line in azure_lines(n)[0]]
        objects["azure/PT1H.json"] = "".join(lines).encode()
        for key, body in objects.items():
            path = logs / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        summary("bedrock", logs / "AWSLogs", "--data", data)
        summary("azure", logs / "azure", "--data", data)
        # Again: slices are rewritten, so that files which the log has removed lie beside the valid ones.
        summary("bedrock", logs / "AWSLogs", "--data", data)
        from decimal import Decimal

        ours = json.loads(polymeter("sql", QUERY.format("calls"), "--data", data, "--format", "json"))
        ours = [(*list(row.values())[:5], Decimal(str(row["cost"]))) for row in ours]
        theirs = read(data / "calls")
        total = sum(row[2] for row in ours)
        check("the ledger has something to read", total == 5700 and len(ours) >= 4, f"{total} calls, {len(ours)} models")
        equal(f"{name} agrees per platform and model", plain(theirs), plain(ours), f"{len(ours)} rows of calls, tokens and cost")
        files = len(list(pathlib.Path(data / "calls").rglob("*.parquet")))
        check(f"{name} reads through the log", total == sum(row[2] for row in theirs), f"{files} files on disk")


main()
