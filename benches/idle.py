#!/usr/bin/env python3
"""What `serve` takes when nothing happens: processor time and memory, on an empty store and on one of 50,000 calls.

usage: benches/idle.py [--rest 30] [--seconds 60]
POLYMETER_BIN names the binary (default: the release build).
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

from serving import Server, binary, demo_store, end, folder


def processor_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wake_ups(pid):
    """Voluntary context switches of all its threads so far: how often it woke up for something."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += kilobytes(task / "status", "voluntary_ctxt_switches")
    return total


def kilobytes(path, name):
    """The number behind a name in a file of /proc."""
    lines = (line.split() for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return sum(int(line[1]) for line in lines)


def memory(pid):
    """(resident, proportional share) in MB."""
    place = pathlib.Path(f"/proc/{pid}")
    return kilobytes(place / "status", "VmRSS") / 1024, kilobytes(place / "smaps_rollup", "Pss") / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--rest", 30), ("--seconds", 60)):
        arguments.add_argument(name, type=int, default=value)
    given = arguments.parse_args()
    with folder() as work:
        calls = demo_store(work / "full", work)
        (work / "nothing").mkdir()
        command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", work / "nothing"]
        yardstick = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with Server(work / "empty", work) as empty, Server(work / "full", work) as full:
                shown = full.value("SELECT count(*) AS n FROM calls")
                named = {"empty store": empty.process.pid, f"{shown} calls": full.process.pid, "python3 -m http.server": yardstick.pid}
                time.sleep(given.rest)
                before = {name: (processor_seconds(pid), wake_ups(pid)) for name, pid in named.items()}
                start = time.monotonic()
                time.sleep(given.seconds)
                took, found = time.monotonic() - start, {}
                print(f"# {binary()}, {os.cpu_count()} cores; {given.seconds} s after {given.rest} s of rest, all three at once; {calls} calls made")
                for name, pid in named.items():
                    share = 100 * (processor_seconds(pid) - before[name][0]) / took
                    woken = (wake_ups(pid) - before[name][1]) / took
                    found[name] = (share, *memory(pid))
                    rss, pss = found[name][1:]
                    print(f"# {name}: {share:.2f} % of a core, {woken:.1f} wake-ups/s, VmRSS {rss:.0f} MB, Pss {pss:.0f} MB")
        finally:
            end(yardstick)
    other = found.pop("python3 -m http.server")
    parts = [f"{name} {share:.2f} % of a core, RSS {rss:.0f} MB, {rss / other[1]:.1f} times an idle python3 -m http.server" for name, (share, rss, _) in found.items()]
    print(f"idle: {' | '.join(parts)}   [{binary()}]")


main()
