#!/usr/bin/env python3
"""Rows and bytes written for each row that comes in, under live traffic that is settled all the time.

usage: benches/amplification.py [--seconds 180] [--rate 100]
POLYMETER_BIN names the binary (default: the release build).
"""

import argparse
import os
import pathlib
import time

from serving import Calls, Load, Server, binary, folder, until

WRITTEN, JOURNAL = "polymeter_rows_written_total", "polymeter_journal_rows_total"
CONFIG = "[settle]\ninterval_s = 1\nhot_s = 60\n"


def bytes_written(pid):
    """What the process has had written to the disk so far."""
    lines = (line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines())
    return dict((name, int(value)) for name, value in lines)["write_bytes"]


def by_table(metrics):
    """Table to rows written; empty without the counter."""
    return {key.split('"')[1]: value for key, value in metrics.items() if key.startswith(f"{WRITTEN}{{table=")}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--seconds", 180), ("--rate", 100)):
        arguments.add_argument(name, type=int, default=value)
    given = arguments.parse_args()
    with folder() as work, Server(work / "data", work, CONFIG) as server:
        start, written = server.metrics(), bytes_written(server.process.pid)
        latencies, _, failed = Load(server, given.rate, given.seconds).result()
        # The last calls are written to the ledger when the horizon has passed them; it moves in steps of minutes.
        start_of_rest = time.monotonic()
        until(lambda: server.metric("polymeter_hot_calls") == 0, 600, 1)
        hot, rest = server.metric("polymeter_hot_calls"), time.monotonic() - start_of_rest
        stop, written = server.metrics(), bytes_written(server.process.pid) - written
        grown = lambda name: sum(value for key, value in stop.items() if key.startswith(name)) - sum(value for key, value in start.items() if key.startswith(name))
        rows, settles = grown(JOURNAL), grown("polymeter_settles_total")
        shown = server.value("SELECT count(*) AS n FROM calls")
    received = len(latencies) * len(Calls().body())
    print(f"# {len(latencies)} calls acknowledged over {given.seconds} s, {failed} failed, {shown} in SQL; {rows:.0f} rows in the journal, {settles:.0f} settles, {hot:.0f} calls not yet in the ledger {rest:.0f} s after the last; {os.cpu_count()} cores")
    print(f"# {written / 1e6:.1f} MB written to the disk for {received / 1e6:.1f} MB of requests, {written / max(1, len(latencies)):.0f} bytes a call")
    tables = {name: value - by_table(start).get(name, 0) for name, value in by_table(stop).items()}
    if tables and rows:
        parts = [f"{name} {value / rows:.2f}" for name, value in sorted(tables.items())]
        total = f"{(sum(tables.values()) + rows) / rows:.2f} rows written for each that came in (journal 1.00, {', '.join(parts)})"
    else:
        total = f"rows skipped: /metrics has no {WRITTEN}"
        print(f"# skipped: /metrics has no {WRITTEN}")
    print(f"amplification: {total}; {written / max(1, received):.1f} bytes on disk for each byte of request   [{binary()}]")


main()
