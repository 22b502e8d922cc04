"""A W&B server on this machine's loopback, as much of one as the real client asks for: what it is told, it keeps.

It proves what our runs and sweeps send, in the client's own words; it does not prove that a real server takes it. With
``sweep`` given it hands each agent one run a combination and then tells it to end.

    with Loopback() as server:  subprocess.run(..., env={**os.environ, **server.environment})
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

ENTITY = {"name": "me", "id": "entity", "username": "me"}
PROJECT = {"name": "p", "id": "project", "internalId": "1", "entity": ENTITY, "entityName": "me"}


class Loopback:
    """The server. ``operations`` are the queries' names in order, ``variables`` what they said."""

    def __init__(self, sweep: Sequence[dict[str, Any]] = ()) -> None:
        self.operations: list[str] = []
        self.variables: dict[str, list[dict[str, Any]]] = {}
        self.streams: dict[str, list[Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.left = list(sweep)
        self.handed = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]  # a client that hangs up is no fault
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.environment = {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_MODE": "online",
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self) -> Loopback:
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def history(self, run: str) -> list[dict[str, Any]]:
        """What a run logged, a row a step, as the client streamed it."""
        rows = []
        for told in self.streams.get(run, []):
            content = (told.get("files") or {}).get("wandb-history.jsonl", {}).get("content", [])
            rows += [json.loads(line) for line in content]
        return rows

    def summary(self, run: str) -> dict[str, Any]:
        """The last summary that a run streamed."""
        last: dict[str, Any] = {}
        for told in self.streams.get(run, []):
            for line in (told.get("files") or {}).get("wandb-summary.json", {}).get("content", []):
                last = json.loads(line)
        return last

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of one query."""
        if name == "UpsertBucket":
            run = {
                "id": "node", "name": variables.get("name") or "run", "displayName": "run", "project": PROJECT,
                "config": "{}", "sweepName": variables.get("sweep"), "historyLineCount": 0, "description": None,
            }  # fmt: skip
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.url}/upload/{variables['run']}/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "node", "uploadHeaders": [], "files": files}}
        if name == "ArtifactType":
            return {"project": {"artifact": {"artifactType": {"name": "run_table"}}}}
        if name == "CreateArtifact":  # committed: nothing is left to upload
            artifact = {"id": "artifact", "state": "COMMITTED", "artifactSequence": {"id": "s", "latestArtifact": None}}
            return {"createArtifact": {"artifact": artifact}}
        if name in ("UpsertSweep", "upsertSweep"):
            return {"upsertSweep": {"sweep": {"name": "sw1", "project": PROJECT}, "configValidationWarnings": []}}
        if "sweep" in name.lower():
            config = json.dumps(self.variables.get("UpsertSweep", [{}])[-1].get("config", "{}"))
            sweep = {
                "id": "sweep", "name": "sw1", "method": "grid", "state": "RUNNING", "description": "",
                "runs": {"edges": []}, "config": json.loads(config),
                "createdAt": None, "heartbeatAt": None, "updatedAt": None,
                "earlyStopJobRunningElapsedTime": 0, "controller": None, "scheduler": None, "runCount": 0,
            }  # fmt: skip
            return {"project": {**PROJECT, "sweep": sweep}}
        if name == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if name == "Heartbeat":
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(self._commands(variables))}}
        if name.lower().startswith("upsertview"):
            view = {
                "id": "view", "type": "runs", "name": "view", "displayName": variables.get("displayName"),
                "description": "", "project": {"id": "project", "name": "p", "entityName": "me"},
                "createdAt": None, "updatedAt": None,
                "spec": variables.get("spec"), "previewUrl": None, "user": None, "locked": False, "viewCount": 0,
                "starCount": 0, "alertSubscription": None, "coverUrl": None, "entityName": "me",
            }  # fmt: skip
            return {"upsertView": {"view": view, "inserted": True}}
        if name == "UpsertModel":
            return {"upsertModel": {"model": PROJECT, "project": PROJECT, "inserted": True}}
        server = {"cliVersionInfo": {"max_cli_version": "0.31.0"}, "latestLocalVersionInfo": None, "features": []}
        projects = {
            "edges": [
                {"node": {**PROJECT, "createdAt": "2026-01-01", "isBenchmark": False, "user": None}, "cursor": "c"}
            ]
        }
        projects["pageInfo"] = {"hasNextPage": False, "endCursor": "c"}
        viewer = {
            **ENTITY, "entity": "me", "defaultEntity": ENTITY, "flags": "{}", "email": "", "admin": False,
            "teams": {"edges": [{"node": ENTITY}]}, "apiKeys": {"edges": []},
        }  # fmt: skip
        return {
            "viewer": viewer, "serverInfo": server, "entity": ENTITY, "project": PROJECT, "model": {"bucket": None},
            "models": projects, "projects": projects, "QueryType": {"fields": []}, "__type": None, "TypeInfo": None,
        }  # fmt: skip

    def _commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        """The next run for an agent that has none; then that it may go."""
        if json.loads(variables.get("runState") or "{}"):
            return []
        if not self.left:
            return [{"type": "exit"}]
        self.handed += 1
        args = {key: {"value": value} for key, value in self.left.pop(0).items()}
        return [{"type": "run", "run_id": f"run{self.handed}", "program": "run.py", "args": args}]


def _handler(owner: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Nothing: the test's output is its own."""

        def do_GET(self) -> None:
            self._reply({})

        def do_PUT(self) -> None:
            owner.uploads[self.path.removeprefix("/upload/")] = self._body()
            self._reply({})

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/file_stream"):
                owner.streams.setdefault(self.path.split("/")[-2], []).append(json.loads(body))
                self._reply({"exitcode": None, "limits": {}})
                return
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked.get("query", ""))
            name = asked.get("operationName") or (found[1] if found else "")
            variables = asked.get("variables") or {}
            owner.operations.append(name)
            owner.variables.setdefault(name, []).append(variables)
            self._reply({"data": owner.answer(name, variables)})

        def _body(self) -> bytes:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

        def _reply(self, value: Any) -> None:
            text = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler
