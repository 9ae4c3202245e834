"""The HTTP API against its own description: made-up requests, right and wrong ones, by schemathesis."""

import os
import subprocess

from harness import ENV, Polymeter, check, folder, polymeter
from postgres import prepare

EXAMPLES = os.environ.get("POLYMETER_EXAMPLES", "10")
CHECKS = ",".join([
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "unsupported_method",
])

with folder() as work:
    polymeter("import", "bedrock", prepare(work), "--data", work / "data")
    with Polymeter(work / "data", work) as server:
        url = f"http://{server.http}"
        command = [
            ENV / "schemathesis/bin/schemathesis", "--no-color", "run", f"{url}/api/v1/openapi.json", "--checks", CHECKS,
            "--max-examples", EXAMPLES, "--seed", os.environ.get("POLYMETER_SEED", "20261121"), "--request-timeout", "60",
            "--phases", "examples,coverage,fuzzing", "--warnings", "off", "--generation-database", "none",
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work, check=False)
        tail = "\n".join(done.stdout.splitlines()[-120:])
        told = "" if done.returncode == 0 else f"\n{tail}\n{done.stderr[-2000:]}"
        check("every answer is as the description says", done.returncode == 0, told)
        summary = [line.strip() for line in done.stdout.splitlines() if "generated" in line or "Test cases" in line or "Operations" in line]
        check("it was asked at all", bool(summary), "; ".join(summary))
        check("it answers as before", server.one("SELECT count(*) AS n FROM calls") == (20,))
        check("nothing panicked", "panicked" not in server.log.read_text())
