"""The part of Google Cloud Storage's JSON interface that a stored run needs, in memory, on loopback."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BOUNDARY = "next-answer"


class Server(ThreadingHTTPServer):
    """The service.

    Attributes:
      buckets: the bytes of every object, by bucket and name.
      uploads: the query of every upload.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.uploads: list[dict[str, list[str]]] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        with self.server.lock:
            if parts.path == "/batch/storage/v1":
                self.answer(200, self.batch(body), f"multipart/mixed; boundary={BOUNDARY}")
                return
            found = re.fullmatch(r"(/upload|/download|)/storage/v1/b/([^/]+)/o/?(.*)", parts.path)
            objects = self.server.buckets.get(unquote(found[2])) if found else None
            if found is None or objects is None:
                self.answer(404, b'{"error": {"message": "The specified bucket does not exist."}}')
            elif found[1] == "/upload":
                self.answer(*self.upload(objects, query, body))
            elif not found[3]:
                self.answer(200, self.listing(objects, query))
            elif (name := unquote(found[3])) not in objects:
                self.answer(404, json.dumps({"error": {"message": f"No such object: {name}"}}).encode())
            elif self.command == "DELETE":
                del objects[name]
                self.answer(204, b"")
            elif query.get("alt") == ["media"]:
                self.answer(200, objects[name], "application/octet-stream")
            else:
                self.answer(200, json.dumps(described(objects, name)).encode())

    do_GET = do_POST = do_DELETE = handle_request

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def upload(self, objects: dict[str, bytes], query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        self.server.uploads.append(query)
        mark = body[: body.index(b"\n")].strip()
        _, metadata, content, _ = body.split(mark)
        name = json.loads(metadata.partition(b"\n\n")[2])["name"]
        if query.get("ifGenerationMatch") == ["0"] and name in objects:
            return 412, b'{"error": {"message": "At least one of the pre-conditions you specified did not hold."}}'
        objects[name] = content.partition(b"\n\n")[2].removesuffix(b"\n")
        return 200, json.dumps(described(objects, name)).encode()

    def listing(self, objects: dict[str, bytes], query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        names, folders = [], set()
        for name in sorted(objects):
            if not name.startswith(prefix):
                continue
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            folders.add(f"{prefix}{head}{cut}") if cut else names.append(name)
        return json.dumps({"items": [described(objects, name) for name in names], "prefixes": sorted(folders)}).encode()

    def batch(self, body: bytes) -> bytes:
        answers = []
        for bucket, name in re.findall(r"DELETE /storage/v1/b/([^/]+)/o/(\S+) HTTP", body.decode()):
            there = self.server.buckets.get(unquote(bucket), {}).pop(unquote(name).partition("?")[0], None)
            missing = 'HTTP/1.1 404 Not Found\n\n{"error": {"message": "No such object"}}'
            answers.append(missing if there is None else "HTTP/1.1 204 No Content\n\n")
        return "".join(f"--{BOUNDARY}\n{answer}\n" for answer in answers).encode() + f"--{BOUNDARY}--".encode()


def described(objects: dict[str, bytes], name: str) -> dict[str, str]:
    """What the interface says about an object."""
    return {"name": name, "bucket": "bucket", "size": str(len(objects[name])), "generation": "1"}
