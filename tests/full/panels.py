"""What Grafana's panels ask, from the generated dashboards, with the macros put in as Grafana does."""

import datetime
import json
import pathlib
import re

DASHBOARDS = pathlib.Path(__file__).parent.parent.parent / "dashboards"
VALUES = {"target": "0.99", "latency_ms": "10000"}


def panels(form):
    """(dashboard, title, text) of each query; `form` is postgres or infinity."""
    for file in sorted((DASHBOARDS / form).glob("*.json")):
        dashboard = json.loads(file.read_text())
        waiting = list(dashboard["panels"])
        while waiting:
            panel = waiting.pop(0)
            waiting += panel.get("panels", [])
            for target in panel.get("targets", []):
                text = target.get("rawSql") if form == "postgres" else target.get("url")
                if text:
                    yield file.stem, panel.get("title", ""), text


def iso(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def expanded(text, start, end, interval_ms=300_000):
    """A text as Grafana sends it: all variables are All."""
    span = {"from": iso(start), "to": iso(end)}
    text = text.replace("$__timeFrom()", f"'{iso(start)}'").replace("$__timeTo()", f"'{iso(end)}'")
    text = re.sub(r"\$\{__(from|to):date:iso\}", lambda found: span[found.group(1)], text)
    text = re.sub(r"\$\{__interval_ms\}|\$__interval_ms", str(interval_ms), text)
    text = re.sub(r"\$\{(\w+):sqlstring\}", lambda found: VALUES.get(found.group(1), "'*'"), text)
    return re.sub(r"\$\{(\w+)(:\w+)?\}", lambda found: VALUES.get(found.group(1), "*"), text)


def last_hours(hours):
    now = datetime.datetime.now(datetime.timezone.utc)
    return now - datetime.timedelta(hours=hours), now
