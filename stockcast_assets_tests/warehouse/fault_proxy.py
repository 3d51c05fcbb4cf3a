"""A proxy between the Google client and the emulator that records, fails, loses answers and stalls.

It also does what the emulator does not: it answers 409 to a job id it has seen before, knows a load by
the id that the client gave it, and has a dry run process some bytes.
"""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes

    @property
    def is_job(self) -> bool:
        return self.method == "POST" and bool(re.search(r"/jobs(\?|$)", self.path))

    @property
    def is_load(self) -> bool:
        return self.is_job and self.path.startswith("/upload/")

    @property
    def job_id(self) -> str | None:
        found = re.search(rb'"jobId":\s*"([^"]+)"', self.body[:20_000]) if self.is_job else None
        return found[1].decode() if found else None

    @property
    def configuration(self) -> dict:
        return json.loads(self.body)["configuration"]["query"] if self.is_job and not self.is_load else {}

    @property
    def sql(self) -> str:
        return self.configuration.get("query", "")

    @property
    def is_dry_run(self) -> bool:
        return self.is_job and not self.is_load and bool(json.loads(self.body)["configuration"].get("dryRun"))

    @property
    def is_merge(self) -> bool:
        return self.sql.startswith(("MERGE", "BEGIN TRANSACTION"))


@dataclass(frozen=True)
class Answer:
    """An error instead of the emulator's answer."""

    status: int
    reason: str
    message: str = "injected"


LOSE_REQUEST = "lose the request"
LOSE_ANSWER = "lose the answer"
STALL = "stall"
Fault = Answer | str | None


@dataclass
class FaultProxy:
    """`fault` decides for each request what goes wrong; None lets it through."""

    address: str
    fault: Callable[[Request], Fault] = lambda request: None
    requests: list[Request] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    """The job of each path that a file of several requests is sent to."""
    dry_run_bytes: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def times(self, count: int, when: Callable[[Request], bool], fault: Fault) -> None:
        """Let the next `count` requests for which `when` holds go wrong."""
        left = [count]

        def decide(request: Request) -> Fault:
            if left[0] and when(request):
                left[0] -= 1
                return fault
            return None

        self.fault = decide

    def statements(self) -> list[str]:
        return [request.sql for request in self.requests if request.sql]


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in front of the server at `upstream`, on a free port."""
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer is one packet: sent in two, the second waits for the client's delayed acknowledgement of the first.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, body)
            proxy.requests.append(request)
            fault = proxy.fault(request)
            if fault == STALL:
                proxy.closing.wait(60)
            if fault in (LOSE_REQUEST, STALL):
                self.close_connection = True
                return
            if isinstance(fault, Answer):
                self.answer(fault)
                return
            job_id = request.job_id or proxy.uploads.get(self.path)
            if job_id in proxy.jobs:
                self.answer(Answer(409, "duplicate", f"Already Exists: Job {job_id}"))
                return
            connection = http.client.HTTPConnection(target)
            path = re.sub(r"(?<=/jobs/)[\w-]+", lambda ours: proxy.jobs.get(ours[0], ours[0]), self.path)
            # The host, too: the emulator tells it where to send the next part of a file.
            connection.request(self.command, path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            connection.close()
            location = response.getheader("Location")
            if job_id and location:
                proxy.uploads[location.removeprefix(proxy.address)] = job_id
            elif job_id and response.status == 200:
                proxy.jobs[job_id] = json.loads(content)["jobReference"]["jobId"]
            if request.is_dry_run and response.status == 200:
                dry = json.loads(content)
                dry["statistics"]["query"]["totalBytesProcessed"] = str(proxy.dry_run_bytes)
                content = json.dumps(dry).encode()
            if fault == LOSE_ANSWER:
                self.close_connection = True
                return
            dropped = ("transfer-encoding", "content-length", "connection")
            self.reply(response.status, [h for h in response.getheaders() if h[0].lower() not in dropped], content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        def answer(self, fault: Answer) -> None:
            error = {"reason": fault.reason, "message": fault.message}
            content = {"error": {"code": fault.status, "message": fault.message, "errors": [error]}}
            self.reply(fault.status, [("Content-Type", "application/json")], json.dumps(content).encode())

        def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Requests are recorded, not printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
