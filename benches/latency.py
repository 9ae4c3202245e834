#!/usr/bin/env python3
"""How soon a call is durable, and how soon it can be queried: on the same replica, on another one, and when it is late.

usage: benches/latency.py [--rate 1000] [--seconds 25] [--probes 100] [--late 5]
POLYMETER_BIN names the binary (default: the release build).
"""

import argparse
import os
import random
import time

from serving import NS, Load, Refused, Sender, Server, binary, folder, journal_object_size, quantile, synced_writes, until, user

QUERY = "SELECT count(*) AS n FROM calls WHERE user_id = $1"
BACKGROUND = 200


def ms(seconds):
    return f"{1000 * seconds:.1f} ms"


def spread(times):
    return f"p50 {ms(quantile(times, 0.5))}, p99 {ms(quantile(times, 0.99))}, max {ms(max(times))}"


def acknowledgement(server, work, rate, seconds):
    """p99 of the acknowledgement at an offered rate, against the disk alone before and after."""
    acknowledged = len(Load(server, rate / 4, 2).result()[0])
    size = journal_object_size(server.data) or 1000
    disk = synced_writes(work, size)
    before = server.metric("polymeter_journal_commits_total") or 0
    latencies, late, failed = Load(server, rate, seconds).result()
    commits = (server.metric("polymeter_journal_commits_total") or 0) - before
    size = journal_object_size(server.data) or size
    disk += synced_writes(work, size)
    print(f"# acknowledgement at {rate}/s offered for {seconds} s: {spread(latencies)}; {len(latencies)} acknowledged, {failed} failed,"
          f" {commits / seconds:.0f} commits/s; the client itself was late by p99 {ms(quantile(late, 0.99))}")
    print(f"# disk alone, write+fsync of {size} bytes and fsync of the folder: {spread(disk)} of {len(disk)}")
    ratio = quantile(latencies, 0.99) / quantile(disk, 0.99)
    return f"acknowledged p99 {ms(quantile(latencies, 0.99))}, {ratio:.1f} times write+fsync p99", acknowledged + len(latencies)


def probe(sender, reader, name, limit=60.0, **call):
    """Seconds from the acknowledgement of one call until a query shows it; None if none does within the limit."""
    sender.send(user=name, **call)
    start = time.perf_counter()
    while time.perf_counter() - start < limit:
        if reader.value(QUERY, user(name)) == 1:
            return time.perf_counter() - start
    return None


def queryable(server, reader, probes, label):
    """Acknowledged by `server`, seen by `reader`, one after the other beside a steady load."""
    loads, sender, times, unseen = [Load(server, BACKGROUND, probes * 0.3 + 5)], Sender(server), [], 0
    time.sleep(1)
    for n in range(probes):
        took = probe(sender, reader, f"{label}-{n}", limit=20)
        unseen += took is None
        times += [took] if took is not None else []
        # Out of step with whatever polymeter does at fixed intervals.
        time.sleep(random.uniform(0.01, 0.15))
        if not loads[-1].running():
            loads.append(Load(server, BACKGROUND, (probes - n) * 0.3 + 5))
    alone = []
    for n in range(40):
        start = time.perf_counter()
        reader.value(QUERY, f"nobody-{n}")
        alone.append(time.perf_counter() - start)
    acknowledged = sum(len(load.result()[0]) for load in loads)
    if not times:
        return f"{label}: none of {probes} was seen within 20 s", times, acknowledged
    print(f"# acknowledgement to queryable, {label}, beside {BACKGROUND}/s: {spread(times)} of {len(times)}, {unseen} unseen within 20 s;"
          f" the query alone {spread(alone)}")
    return f"{label} queryable p99 {ms(quantile(times, 0.99))}, {quantile(times, 0.99) / quantile(alone, 0.5):.1f} times the query itself", times, acknowledged


def late(server, number, hot):
    """Calls of two hours ago, one by one, when the load has been settled."""
    settles = lambda: server.metric("polymeter_settles_total") or 0
    before = settles()
    until(lambda: settles() > before, 90, 0.5)
    sender, times, unseen = Sender(server), [], 0
    for n in range(number):
        time.sleep(2)
        took = probe(sender, server, f"late-{n}", start_ns=time.time_ns() - 7200 * NS)
        unseen += took is None
        times += [took] if took is not None else []
    if not times:
        return f"late: none of {number} was seen within 60 s"
    print(f"# a call of two hours ago, nothing else to do: {spread(times)} of {len(times)}, {unseen} unseen within 60 s")
    against = f", {quantile(times, 0.5) / quantile(hot, 0.5):.1f} times a prompt one" if hot else ""
    return f"late p50 {ms(quantile(times, 0.5))}{against}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--rate", 1000), ("--seconds", 25), ("--probes", 100), ("--late", 5)):
        arguments.add_argument(name, type=int, default=value)
    given = arguments.parse_args()
    with folder() as work:
        print(f"# {binary()}, {os.cpu_count()} cores", flush=True)
        with Server(work / "data", work, 'writer = "one"') as server:
            server.data = work / "data"
            first, sent = acknowledgement(server, work, given.rate, given.seconds)
            second, hot, more = queryable(server, server, given.probes, "same replica")
            sent += more
            try:
                with Server(work / "data", work, 'writer = "two"') as other:
                    third, _, more = queryable(server, other, given.probes, "other replica")
                    sent += more
            except Refused as refused:
                third = "other replica skipped"
                print(f"# skipped: a second server on the same store does not start: {str(refused).splitlines()[-1]}")
            fourth = late(server, given.late, hot)
            shown = server.value(QUERY, user("u-10442"))
            print(f"# {shown} calls of the loads in SQL, {sent - shown} acknowledged ones missing")
    print(f"latency: {first} | {second} | {third} | {fourth}   [{binary()}]")


main()
