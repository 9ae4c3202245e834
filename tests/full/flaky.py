"""A proxy in front of a test server that fails every third request: by turns with 503, a cut body, and a closed connection."""

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


@contextlib.contextmanager
def flaky(url, every=3):
    """Yields the proxy's URL and its counts; `counts["every"] = 0` makes it behave."""
    upstream = urlsplit(url).netloc
    counts, lock = {"asked": 0, "failed": 0, "every": every}, threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def forward(self):
            with lock:
                counts["asked"] += 1
                bad = counts["every"] and counts["asked"] % counts["every"] == 0
                counts["failed"] += bool(bad)
                way = counts["failed"] % 3 if bad else None
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            if way == 0:
                self.close_connection = True
                return
            if way == 1:
                self.send_response(503)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            inner = http.client.HTTPConnection(upstream, timeout=60)
            try:
                headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
                if length or self.command in ("POST", "PUT"):
                    headers["content-length"] = str(length)
                inner.request(self.command, self.path, body or None, headers)
                answer = inner.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in HOP:
                        self.send_header(key, value)
                size = answer.headers.get("content-length") if self.command == "HEAD" else len(data)
                self.send_header("content-length", str(size or 0))
                self.end_headers()
                if way == 2 and len(data) > 1:
                    # The upstream has done what was asked; the answer does not arrive whole.
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(data)
            except OSError:
                self.close_connection = True
            finally:
                inner.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = forward

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that was killed breaks its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counts
    finally:
        server.shutdown()
        server.server_close()
