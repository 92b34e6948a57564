"""A server that speaks as much of W&B's protocol as `wandb sync` needs, and keeps what it is sent.

As the real one, it keeps the history of a run as numbered lines: lines that are sent again to the
same numbers replace the ones that were there, and do not double them.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HISTORY = "wandb-history.jsonl"


class Server(http.server.ThreadingHTTPServer):
    """Keeps runs in memory.

    Attributes:
        lines: Lines of the streamed files, by run id, name of the file and number.
        uploads: Names of the files that were uploaded, by run id.
        artifacts: Names of the artifacts that were created, by digest.
        requests: Number of requests.
        refuses: Whether to answer nothing but "no such key".
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
        self.uploads: dict[str, list[str]] = defaultdict(list)
        self.artifacts: dict[str, str] = {}
        self.requests = 0
        self.refuses = False
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def history(self, run: str) -> list[dict[str, Any]]:
        """Return the rows of a run, in the order of their numbers."""
        return [json.loads(line) for _, line in sorted(self.lines[run][HISTORY].items())]

    def bucket(self, run: str) -> dict[str, Any]:
        """Return what the server says of a run."""
        history = [line for _, line in sorted(self.lines[run][HISTORY].items())]
        return {
            "id": f"id-{run}",
            "name": run,
            "displayName": run,
            "description": "",
            "config": "{}",
            "sweepName": None,
            "summaryMetrics": "{}",
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyLineCount": len(history),
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": "[]",
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps({"t": {}}),
            "project": {"id": "p", "name": "im-bench", "entity": {"id": "e", "name": "me"}},
        }

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer a question in GraphQL."""
        if operation == "RunResumeStatus":
            known = self.lines.get(given["name"])
            project = {"id": "p", "name": "im-bench", "entity": {"id": "e", "name": "me"}}
            bucket = self.bucket(given["name"]) if known else None
            return {"model": {**project, "bucket": bucket}}
        if operation == "UpsertBucket":
            run = given["name"]
            inserted = run not in self.lines
            return {"upsertBucket": {"bucket": self.bucket(run), "inserted": inserted}}
        if operation == "CreateArtifact":
            # As if the server had its files already, which spares the test their upload.
            made = given["input"]
            self.artifacts[made["digest"]] = made["artifactCollectionName"]
            sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
            artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": artifact}}
        if operation == "Viewer":
            return {"viewer": {"username": "me"}}
        if operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": f"{self.url}/put/{given['run']}/{name}"}
                for name in given["files"]
            ]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        return {"project": None}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self._body()
        with self.server.guard:
            self.server.requests += 1
            if self.server.refuses:
                self._reply({"errors": ["no such key"]}, 401)
                return
            if not self.path.endswith(("/graphql", "/file_stream")):
                self._reply({})
                return
            asked = json.loads(body)
            if self.path == "/graphql":
                operation = re.findall(r"(?:query|mutation)\s+(\w+)", asked["query"])[0]
                self._reply({"data": self.server.answer(operation, asked.get("variables") or {})})
                return
            if self.path.endswith("/file_stream"):
                run = self.path.split("/")[-2]
                for name, file in asked.get("files", {}).items():
                    numbered = enumerate(file["content"], file["offset"])
                    self.server.lines[run][name].update(numbered)
            self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self._body()
        _, _, run, name = self.path.split("/", 3)
        with self.server.guard:
            self.server.uploads[run].append(name)
        self._reply({})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _reply(self, value: Any, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
