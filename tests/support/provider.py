"""A stand-in for the APIs of git providers: a real HTTP server on loopback that refuses what they would refuse.

It checks method, path, authorization and body by what the providers' reference documents say, remembers what it was
told, and can be ill: answer an error some times, hang, or be away.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import jsonschema

TOKEN = "token-0123456789-secret"
_TEXT = {"type": "string"}
_SHA = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
_URI = {"type": "string", "pattern": "^https?://[^ ]+$"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Operation:
    """`path` is a pattern; `answer` is what a success answers, with `{}` for the number of the request."""

    name: str
    method: str
    path: str
    status: int
    schema: dict[str, Any] | None
    answer: str = "{}"


_GITHUB_STATES = ["error", "failure", "inactive", "in_progress", "queued", "pending", "success"]
_GITHUB_TEXT = {"type": "string", "maxLength": 140}
_GITHUB_CONFIG = _object(
    {"url": _URI}, content_type={"enum": ["json", "form"]}, secret=_TEXT, insecure_ssl={"enum": ["0", "1"]}
)
_GITHUB_HOOK = {"active": {"type": "boolean"}, "events": {"type": "array", "items": _TEXT}}
_GITLAB_HOOK = _object(
    {"url": _URI},
    token=_TEXT,
    push_events={"type": "boolean"},
    tag_push_events={"type": "boolean"},
    merge_requests_events={"type": "boolean"},
    enable_ssl_verification={"type": "boolean"},
    push_events_branch_filter=_TEXT,
)
_BITBUCKET_HOOK = _object(
    {"description": _TEXT, "url": _URI, "active": {"type": "boolean"}, "events": {"type": "array"}}, secret=_TEXT
)
_SHA_PATH = "[0-9a-f]{40}"
OPERATIONS = {
    "github": [
        Operation("check", "GET", "/repos/acme/shop", 200, None, '{"id": 1, "full_name": "acme/shop"}'),
        Operation(
            "status",
            "POST",
            f"/repos/acme/shop/statuses/{_SHA_PATH}",
            201,
            _object(
                {"state": {"enum": ["error", "failure", "pending", "success"]}},
                target_url=_URI,
                description=_GITHUB_TEXT,
                context=_TEXT,
            ),
            '{"id": %d}',
        ),
        Operation(
            "deployment",
            "POST",
            "/repos/acme/shop/deployments",
            201,
            _object(
                {"ref": _TEXT},
                task=_TEXT,
                auto_merge={"type": "boolean"},
                required_contexts={"type": ["array", "null"], "items": _TEXT},
                payload={},
                environment=_TEXT,
                description=_GITHUB_TEXT,
                transient_environment={"type": "boolean"},
                production_environment={"type": "boolean"},
            ),
            '{"id": %d}',
        ),
        Operation(
            "deployment status",
            "POST",
            "/repos/acme/shop/deployments/[0-9]+/statuses",
            201,
            _object(
                {"state": {"enum": _GITHUB_STATES}},
                target_url=_URI,
                log_url=_URI,
                description=_GITHUB_TEXT,
                environment=_TEXT,
                environment_url=_URI,
                auto_inactive={"type": "boolean"},
            ),
            '{"id": %d}',
        ),
        Operation(
            "tag",
            "POST",
            "/repos/acme/shop/git/refs",
            201,
            _object({"ref": {"type": "string", "pattern": "^refs/.+/.+|^refs/tags/.+"}, "sha": _SHA}),
        ),
        Operation(
            "hook",
            "POST",
            "/repos/acme/shop/hooks",
            201,
            _object({"config": _GITHUB_CONFIG}, name={"const": "web"}, **_GITHUB_HOOK),
            '{"id": %d}',
        ),
        Operation("hooks", "GET", r"/repos/acme/shop/hooks\?per_page=100", 200, None),
        Operation(
            "hook update",
            "PATCH",
            "/repos/acme/shop/hooks/[0-9]+",
            200,
            _object({}, config=_GITHUB_CONFIG, **_GITHUB_HOOK),
        ),
    ],
    "gitlab": [
        Operation("check", "GET", "/projects/acme%2Fshop", 200, None, '{"id": 1, "path_with_namespace": "acme/shop"}'),
        Operation(
            "status",
            "POST",
            f"/projects/acme%2Fshop/statuses/{_SHA_PATH}",
            201,
            _object(
                {"state": {"enum": ["pending", "running", "success", "failed", "canceled", "skipped"]}},
                ref=_TEXT,
                name=_TEXT,
                context=_TEXT,
                target_url={**_URI, "maxLength": 255},
                description={"type": "string", "maxLength": 255},
                coverage={"type": "number"},
                pipeline_id={"type": "integer"},
            ),
            '{"id": %d}',
        ),
        Operation(
            "deployment",
            "POST",
            "/projects/acme%2Fshop/deployments",
            201,
            _object(
                {
                    "environment": _TEXT,
                    "sha": _SHA,
                    "ref": _TEXT,
                    "tag": {"type": "boolean"},
                    "status": {"enum": ["running", "success", "failed", "canceled"]},
                }
            ),
            '{"id": %d}',
        ),
        Operation(
            "deployment status",
            "PUT",
            "/projects/acme%2Fshop/deployments/[0-9]+",
            200,
            _object({"status": {"enum": ["running", "success", "failed", "canceled"]}}),
        ),
        Operation(
            "tag",
            "POST",
            "/projects/acme%2Fshop/repository/tags",
            201,
            _object({"tag_name": _TEXT, "ref": _TEXT}, message=_TEXT),
        ),
        Operation(
            "hook",
            "POST",
            "/projects/acme%2Fshop/hooks",
            201,
            _GITLAB_HOOK,
            '{"id": %d}',
        ),
        Operation("hooks", "GET", r"/projects/acme%2Fshop/hooks\?per_page=100", 200, None),
        Operation("hook update", "PUT", "/projects/acme%2Fshop/hooks/[0-9]+", 200, _GITLAB_HOOK),
    ],
    "gitea": [
        Operation("check", "GET", "/repos/acme/shop", 200, None, '{"id": 1, "full_name": "acme/shop"}'),
        Operation(
            "status",
            "POST",
            f"/repos/acme/shop/statuses/{_SHA_PATH}",
            201,
            _object(
                {},
                state={"enum": ["pending", "success", "error", "failure", "warning"]},
                target_url=_URI,
                description=_TEXT,
                context=_TEXT,
            ),
            '{"id": %d}',
        ),
        Operation(
            "tag", "POST", "/repos/acme/shop/tags", 201, _object({"tag_name": _TEXT}, message=_TEXT, target=_TEXT)
        ),
        Operation(
            "hook",
            "POST",
            "/repos/acme/shop/hooks",
            201,
            _object(
                {
                    "type": {"enum": ["gitea", "gogs", "forgejo"]},
                    "config": _object({"url": _URI, "content_type": {"enum": ["json", "form"]}}, secret=_TEXT),
                },
                active={"type": "boolean"},
                events={"type": "array", "items": _TEXT},
                branch_filter=_TEXT,
                authorization_header=_TEXT,
            ),
            '{"id": %d}',
        ),
        Operation("hooks", "GET", r"/repos/acme/shop/hooks\?limit=100", 200, None),
        Operation("hook removal", "DELETE", "/repos/acme/shop/hooks/[0-9]+", 204, None, ""),
    ],
    "bitbucket": [
        Operation("check", "GET", "/repositories/acme/shop", 200, None, '{"full_name": "acme/shop"}'),
        Operation(
            "status",
            "POST",
            f"/repositories/acme/shop/commit/{_SHA_PATH}/statuses/build",
            201,
            _object(
                {
                    "key": {"type": "string", "maxLength": 40},
                    "state": {"enum": ["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]},
                    "url": _URI,
                },
                name=_TEXT,
                description=_TEXT,
                refname=_TEXT,
            ),
        ),
        Operation(
            "tag",
            "POST",
            "/repositories/acme/shop/refs/tags",
            201,
            _object({"name": _TEXT, "target": _object({"hash": _SHA})}, message=_TEXT),
        ),
        Operation(
            "hook",
            "POST",
            "/repositories/acme/shop/hooks",
            201,
            _BITBUCKET_HOOK,
            '{"uuid": "{%d}"}',
        ),
        Operation(
            "hooks",
            "GET",
            r"/repositories/acme/shop/hooks\?pagelen=100&fields=values\.uuid,values\.url",
            200,
            None,
        ),
        Operation("hook update", "PUT", "/repositories/acme/shop/hooks/%7B[0-9]+%7D", 200, _BITBUCKET_HOOK),
    ],
}
BASES = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "bitbucket": "/2.0"}
"""What self-hosted ones have before every path."""
AUTHORIZATION = {
    "github": ("authorization", f"Bearer {TOKEN}"),
    "gitlab": ("private-token", TOKEN),
    "gitea": ("authorization", f"token {TOKEN}"),
    "bitbucket": ("authorization", f"Bearer {TOKEN}"),
}


@dataclass(frozen=True)
class Told:
    """A request that was accepted."""

    operation: str
    path: str
    body: Any


@dataclass
class Provider:
    """`told` has what was accepted, `complaints` what no provider would take. `ill` are answers that are given instead,
    one after the other: (status, headers, body), or None to hang until `let_go`. `hooks` are the webhooks that there
    are, by their numbers."""

    kind: str
    url: str = ""
    told: list[Told] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    ill: list[tuple[int, dict[str, str], str] | None] = field(default_factory=list)
    hooks: dict[int, Any] = field(default_factory=dict)
    requests: int = 0
    _free: threading.Event = field(default_factory=threading.Event)

    def named(self, operation: str) -> list[Any]:
        """The bodies of the operation's requests."""
        return [each.body for each in self.told if each.operation == operation]

    def let_go(self) -> None:
        self._free.set()

    def _listed(self) -> str:
        """The webhooks, without their secrets."""
        found: list[dict[str, Any]] = []
        for number, hook in self.hooks.items():
            config = {"config": {"url": hook["config"]["url"]}} if "config" in hook else {"url": hook["url"]}
            found.append({"uuid": f"{{{number}}}"} | config if self.kind == "bitbucket" else {"id": number} | config)
        return json.dumps({"values": found} if self.kind == "bitbucket" else found)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
        self.requests += 1
        if self.ill:
            sick = self.ill.pop(0)
            if sick is None:
                self._free.wait(60)
                return 200, {}, "{}"
            return sick
        name, value = AUTHORIZATION[self.kind]
        if headers.get(name) != value:
            return 401, {}, '{"message": "Bad credentials"}'
        path = path.removeprefix(BASES[self.kind]) if path.startswith(BASES[self.kind]) else f"without base: {path}"
        found = [each for each in OPERATIONS[self.kind] if each.method == method and re.fullmatch(each.path, path)]
        if not found:
            self.complaints.append(f"{method} {path}: there is no such operation")
            return 404, {}, '{"message": "Not Found"}'
        document = json.loads(body) if body else None
        operation = found[0]
        if operation.schema is not None:
            if headers.get("content-type") != "application/json":
                self.complaints.append(f"{method} {path}: the body is {headers.get('content-type')}")
            for error in jsonschema.Draft202012Validator(operation.schema).iter_errors(document):
                self.complaints.append(f"{method} {path}: {error.json_path}: {error.message}")
        if self.kind == "github" and "user-agent" not in headers:
            self.complaints.append("GitHub wants a User-Agent")
        self.told.append(Told(operation.name, path, document))
        text = operation.answer % self.requests if "%d" in operation.answer else operation.answer
        if operation.name == "hook":
            self.hooks[self.requests] = document
        elif operation.name == "hooks":
            text = self._listed()
        elif operation.name in ("hook update", "hook removal"):
            number = int(re.findall(r"\d+", unquote(path))[-1])
            old = self.hooks.pop(number, None)
            if old is None:
                return 404, {}, '{"message": "Not Found"}'
            if document:
                self.hooks[number] = document
        return operation.status, {}, text


@contextmanager
def provider(kind: str) -> Iterator[Provider]:
    """The stand-in, answering on loopback until the block ends."""
    stand_in = Provider(kind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, text = stand_in.answer(self.command, self.path, headers, self.rfile.read(length))
            body = text.encode()
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked did not wait
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the server's names

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        stand_in.let_go()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
