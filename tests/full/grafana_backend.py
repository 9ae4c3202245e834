"""What the Grafana dashboards ask, asked as the backends of Grafana's two data sources do, of a polymeter that serves the demo to
people who log in. grafana/*.go asks, this starts what is asked, and grafana_panels.mjs draws the answers."""

import pathlib
import re
import subprocess
import sys
import time

from harness import BIN, ENV, Polymeter, check, folder, until

HERE = pathlib.Path(__file__).parent
LATE_S = 40
PASSWORD = "it's a p@ss\\word"  # characters that a connection string has to quote


def access(work):
    """A configuration with a user for the wire and a token for HTTP, and the token."""
    hashed = subprocess.run(
        [BIN, "access", "hash", "grafana", "--role", "read"], input=PASSWORD + "\n", capture_output=True, text=True, check=True
    ).stdout
    made = subprocess.run([BIN, "access", "token", "dashboards", "--role", "read"], capture_output=True, text=True, check=True)
    (work / "access.toml").write_text(hashed + made.stdout)
    config = work / "polymeter.toml"
    # A busy machine is no fault of the dashboards.
    config.write_text('[access]\nfile = "access.toml"\n[access.limits.read]\ntime_s = 300\n')
    return config, re.search(r"pm_\S+|[A-Za-z0-9_-]{30,}", made.stderr).group(0)


def main():
    with folder() as work:
        config, token = access(work)
        with Polymeter(work / "data", work, config=config, token=token, more=["--demo"]) as server:
            there = lambda: server.one("SELECT count(*) FROM calls")[0] >= 50_000 and all(
                server.one(f"SELECT count(*) FROM {table}")[0] > 0 for table in ("provider_metrics", "quarantine")
            )
            if not check("the demo is there", until(there, 300, 1) is not None):
                return
            time.sleep(LATE_S + 10)  # What is asked ends so long ago, and the history has to be before that.
            command = [ENV / "bin/ask-grafana", "-dashboards", HERE.parent.parent / "dashboards", "-http", server.http, "-pg", server.pg]
            command += ["-user", "grafana", "-password", PASSWORD, "-token", token, "-late", f"{LATE_S}s", "-keep", ENV / "grafana-answers.jsonl"]
            sys.stdout.flush()
            if subprocess.run(command, check=False).returncode not in (0, 1):
                check("the questions end in order", False)


main()
