"""A real LiteLLM proxy in front of a small OpenAI-compatible server, exporting OTLP to polymeter."""

import http.server
import json
import os
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.request

from harness import HTTP, Polymeter, answers, check, equal, folder, free_port, server, until

LIMIT_S = 2.0
BATCH_MS = 800  # LiteLLM's own delay before it exports a span: OTEL_BSP_SCHEDULE_DELAY
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 85,
    "total_tokens": 1285,
    "prompt_tokens_details": {"cached_tokens": 1024},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


class Upstream(http.server.BaseHTTPRequestHandler):
    """OpenAI as far as a gateway needs it: an answer, a stream, embeddings, a refusal."""

    protocol_version = "HTTP/1.1"
    served = 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Upstream.served += 1
        name = f"chatcmpl-Fake{Upstream.served:06d}"
        if asked["model"] == "gpt-4o-busy":
            return self.answer(429, {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}})
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            usage = {"prompt_tokens": 9, "total_tokens": 9}
            return self.answer(200, {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage})
        common = {"id": name, "created": int(time.time()), "model": "gpt-4o-2024-11-20"}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "an answer"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return self.answer(200, {**common, "object": "chat.completion", "choices": choices, "usage": USAGE})
        part = {**common, "object": "chat.completion.chunk", "usage": None}
        choice = lambda delta, end: [{"index": 0, "delta": delta, "finish_reason": end}]
        chunks = [
            {**part, "choices": choice({"role": "assistant", "content": "an"}, None)},
            {**part, "choices": choice({"content": " answer"}, None)},
            {**part, "choices": choice({}, "stop")},
            {**part, "choices": [], "usage": USAGE},
        ]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return self.send(200, "text/event-stream", body.encode())

    def answer(self, status, value):
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", f"req_fake{Upstream.served:06d}")
        self.end_headers()
        self.wfile.write(body)


class Passing(http.server.BaseHTTPRequestHandler):
    """Passes exports on to polymeter and keeps when it acknowledged them."""

    protocol_version = "HTTP/1.1"
    target = None
    answered = []

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: self.headers[name] for name in ("content-type", "content-encoding") if self.headers[name]}
        try:
            with HTTP.open(urllib.request.Request(self.target + self.path, body, headers), timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        Passing.answered.append((time.monotonic(), status))
        self.send_response(status)
        self.send_header("content-type", headers.get("content-type", "application/x-protobuf"))
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def listen(handler):
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{httpd.server_address[1]}"


def ask(base, path, body):
    headers = {"authorization": "Bearer sk-test", "content-type": "application/json"}
    request = urllib.request.Request(f"{base}{path}", json.dumps(body).encode(), headers)
    try:
        with HTTP.open(request, timeout=60) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


SELECT = (
    "SELECT platform, request_model, streaming, outcome, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens"
    " FROM calls ORDER BY ts"
)
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a question"}]}
COUNTS = {"input_tokens": 1200, "cache_read_tokens": 1024, "output_tokens": 85, "reasoning_tokens": 40}
STEPS = [
    ("a chat call", "/v1/chat/completions", CHAT, {"outcome": "ok", **COUNTS}),
    ("a streamed chat call", "/v1/chat/completions", {**CHAT, "stream": True}, {"outcome": "ok", "streaming": True, **COUNTS}),
    ("an embeddings call", "/v1/embeddings", {"model": "embed", "input": "text"}, {"outcome": "ok", "input_tokens": 9}),
    ("a refusal of the provider", "/v1/chat/completions", {**CHAT, "model": "busy"}, {"outcome": "throttled", "input_tokens": None}),
]


def step(meter, proxy, known, what, path, body, wanted):
    """One request: exactly one more call, soon after polymeter acknowledged its span, with the right numbers."""
    status = ask(proxy, path, body)
    asked = time.monotonic()
    served = Upstream.served
    if until(lambda: len(meter.sql(SELECT)) > known, 15) is None:
        return check(f"{what} is counted", False, f"no call in SQL 15 s after the answer {status}; exports {Passing.answered[-3:]}")
    shown = time.monotonic()
    acknowledged = max((at for at, code in Passing.answered if code == 200 and at <= shown), default=shown)
    detail = f"{1000 * (shown - acknowledged):.0f} ms after the export, {1000 * (shown - asked):.0f} ms after the answer"
    check(f"{what} is in SQL within {LIMIT_S} s of LiteLLM's export", shown - acknowledged <= LIMIT_S, detail)
    time.sleep(2 * BATCH_MS / 1000 + 0.5)  # whatever else LiteLLM says about it
    rows = meter.sql(SELECT)
    equal(f"{what} is counted once", len(rows), known + 1, f"{Upstream.served} answers of the provider, {served} at the call")
    row = rows[-1]
    return equal(f"{what} has the provider's numbers", {key: row[key] for key in wanted}, wanted, json.dumps(row))


def main():
    with folder() as work, Polymeter(work / "data", work) as meter:
        upstream = listen(Upstream)
        Passing.target = meter.otlp_http
        sink = listen(Passing)
        deployment = lambda alias, model: (
            f"  - model_name: {alias}\n    litellm_params: {{model: openai/{model}, api_key: x, api_base: {upstream}/v1, max_retries: 0}}\n"
        )
        models = [("gpt-4o", "gpt-4o"), ("busy", "gpt-4o-busy"), ("embed", "text-embedding-3-small")]
        settings = "general_settings: {master_key: sk-test}\nlitellm_settings: {callbacks: [otel], num_retries: 0}\n"
        settings += "router_settings: {num_retries: 0, disable_cooldowns: true}\n"
        config = work / "litellm.yaml"
        config.write_text("model_list:\n" + "".join(deployment(*pair) for pair in models) + settings)
        port = free_port()
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "DO_NOT_TRACK": "1",
            "OTEL_EXPORTER": "otlp_http",
            "OTEL_ENDPOINT": f"{sink}/v1/traces",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "otlp_http",
            "OTEL_BSP_SCHEDULE_DELAY": str(BATCH_MS),
        }
        command = [pathlib.Path(sys.executable).parent / "litellm", "--config", config]
        command += ["--host", "127.0.0.1", "--port", port, "--telemetry", "False"]
        proxy = f"http://127.0.0.1:{port}"
        up = lambda: answers(f"{proxy}/health/liveliness")
        with server(command, up, work / "litellm.log", 180, {**env, "PATH": os.environ["PATH"]}):
            for n, (what, path, body, wanted) in enumerate(STEPS):
                step(meter, proxy, n, what, path, body, wanted)
        (platforms,) = ({row["platform"] for row in meter.sql(SELECT)},)
        equal("every call is OpenAI's", platforms, {"openai"})
        statuses = {code for _, code in Passing.answered}
        equal("every export was taken in", statuses, {200}, f"{len(Passing.answered)} exports")
        equal("nothing of it is quarantined", meter.one("SELECT count(*) FROM quarantine"), (0,))


main()
