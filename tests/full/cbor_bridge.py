"""CloudWatch as AWS's newer clients speak it (RPC v2, CBOR), in front of moto, which knows the older protocols only."""

import datetime
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BREAK = object()


def decode(data, at=0):
    """A value and the offset behind it."""
    kind, low = data[at] >> 5, data[at] & 31
    at += 1
    if kind == 7:
        if low == 31:
            return BREAK, at
        if low in (25, 26, 27):
            size = {25: 2, 26: 4, 27: 8}[low]
            return struct.unpack({25: ">e", 26: ">f", 27: ">d"}[low], data[at : at + size])[0], at + size
        return {20: False, 21: True}.get(low), at
    length = low
    if 24 <= low <= 27:
        size = 1 << (low - 24)
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    open_end = low == 31
    if kind == 0:
        return length, at
    if kind == 1:
        return -1 - length, at
    if kind in (2, 3):
        text = data[at : at + length]
        return (text.decode() if kind == 3 else text), at + length
    if kind == 6:
        value, at = decode(data, at)
        return (datetime.datetime.fromtimestamp(value, datetime.timezone.utc) if length == 1 else value), at
    items, count = [], 0
    while open_end or count < length * (2 if kind == 5 else 1):
        value, at = decode(data, at)
        if value is BREAK:
            break
        items.append(value)
        count += 1
    return (dict(zip(items[::2], items[1::2])) if kind == 5 else items), at


def head(kind, length):
    if length < 24:
        return bytes([kind << 5 | length])
    return bytes([kind << 5 | 27]) + length.to_bytes(8, "big")


def encode(value):
    if isinstance(value, bool):
        return bytes([0xF5 if value else 0xF4])
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, datetime.datetime):
        return head(6, 1) + encode(value.timestamp())
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(encode(key) + encode(one) for key, one in value.items())
    return head(4, len(value)) + b"".join(encode(one) for one in value)


def bridge(client):
    """Starts the bridge; its URL and the operations that were asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            operation = self.path.rsplit("/", 1)[1]
            asked.append(operation)
            call = {"ListMetrics": client.list_metrics, "GetMetricData": client.get_metric_data}[operation]
            answer = call(**(decode(body)[0] if body else {}))
            answer.pop("ResponseMetadata", None)
            out = encode(answer)
            self.send_response(200)
            self.send_header("smithy-protocol", "rpc-v2-cbor")
            self.send_header("content-type", "application/cbor")
            self.send_header("content-length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}", asked
