"""The panel as its users have it: `devflow up` on a folder of its own, asked over HTTP with an API token."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx

from bench import work
from bench.common import measured
from tests.support.panel import Panel
from tests.support.vps import Vps

EMAIL = "bench@example.test"
ENVIRONMENT = "production"
CHECK_SECONDS = 30


@dataclass(frozen=True)
class Ended:
    """Times by the wall clock: when it was asked for, and when the last step was done that moves traffic."""

    asked: float
    moved: float


class OurPanel:
    """A running panel. A context manager."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.panel = Panel(folder / "panel", **settings)

    def __enter__(self) -> Self:
        self.panel.start()
        self._run("admin", "create-user", "--email", EMAIL, "--password-stdin", stdin=secrets.token_urlsafe(12))
        token = self._run("admin", "create-token", "--email", EMAIL, "--scopes", "read,deploy,admin").split()[-1]
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=f"{self.panel.url}/api/v1/", headers=headers, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self.panel.stop()

    def add_project(
        self,
        name: str,
        repository: str,
        root: str,
        servers: Sequence[tuple[Vps, int]],
        recipe: str,
        deploy_key: str = "",
        **settings: Any,
    ) -> None:
        """A project with its one environment on these servers, each with the port to reach it by, all checked.

        `settings` are those of the environment, in place of what the common work needs.

        Without a recipe the panel looks into each commit first, to detect one.
        """
        names = [self.add_server(f"{name}-{number}", vps, port) for number, (vps, port) in enumerate(servers, 1)]
        self.add_site(name, repository, root, names, recipe, deploy_key, **settings)

    def add_site(
        self,
        name: str,
        repository: str,
        root: str,
        names: Sequence[str],
        recipe: str,
        deploy_key: str = "",
        **settings: Any,
    ) -> None:
        """The same on servers that are known by these names."""
        self._post("projects", slug=name, repository=repository, recipe=recipe, deploy_key=deploy_key)
        self._post(
            f"projects/{name}/environments",
            **{
                "name": ENVIRONMENT,
                "branch": work.BRANCH,
                "servers": names,
                "root": root,
                "keep": work.KEEP,
                "shared_files": [work.SHARED_FILE],
                "shared_folders": [work.SHARED_FOLDER],
                "phase_commands": {"prepare": [work.BUILD]},
                **settings,
            },
        )
        for server in names:
            self._wait_until_online(server)

    def deploy(self, project: str, *, clean: bool = False) -> float:
        """Seconds from the request to its end as the stream of events tells it."""
        with measured() as watch:
            deployment = self._post(f"projects/{project}/deploy", environment=ENVIRONMENT, clean=clean)
            ended = next(event for event in self._events(deployment["id"]) if event["kind"] == "deployment.completed")
        assert ended["status"] == "success", ended
        return watch.seconds

    def begin(self, project: str) -> str:
        """Asks for a deployment; returns its id."""
        deployment: str = self._post(f"projects/{project}/deploy", environment=ENVIRONMENT)["id"]
        return deployment

    def request_of_events(self, deployment: str) -> bytes:
        """A whole request for the stream of its events."""
        return (
            f"GET /api/v1/deployments/{deployment}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: {self._client.headers['Authorization']}\r\n\r\n"
        ).encode()

    def change_version(self, project: str, *, back: bool = False) -> Ended:
        """A deployment, or the way back to the release before; when it was asked for and when traffic had moved."""
        asked = time.time()
        kind = "rollback" if back else "deployments"
        deployment = self._post(f"projects/{project}/environments/{ENVIRONMENT}/{kind}")["id"]
        ended = next(event for event in self._events(deployment) if event["kind"] == "deployment.completed")
        assert ended["status"] == "success", f"{ended}\n{self._log(deployment)}"
        steps = self._client.get(f"deployments/{deployment}/steps").raise_for_status().json()
        moves = [step for step in steps if step["phase"] == "activate" and step["status"] == "success"]
        return Ended(asked, max(_end(step) for step in moves))

    def _log(self, deployment: str) -> str:
        """Its last lines."""
        return self._client.get(f"deployments/{deployment}/log").raise_for_status().text[-3000:]

    def _events(self, deployment: str) -> Iterator[dict[str, Any]]:
        kind = ""
        with self._client.stream("GET", f"deployments/{deployment}/events") as response:
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    yield {**json.loads(value), "kind": kind}

    def add_server(self, name: str, vps: Vps, port: int) -> str:
        """Makes it known under this name, which is returned."""
        self._post(
            "servers",
            name=name,
            host=vps.host,
            port=port,
            user=vps.user,
            private_key=vps.private_key,
            host_key=vps.host_key,
        )
        return name

    def _wait_until_online(self, name: str) -> None:
        deadline = time.monotonic() + CHECK_SECONDS
        while (server := self._client.get(f"servers/{name}").raise_for_status().json())["status"] != "online":
            assert time.monotonic() < deadline, f"{name} is {server['status']}: {server['status_message']}"
            time.sleep(0.1)

    def _post(self, path: str, **document: Any) -> dict[str, Any]:
        response = self._client.post(path, json=document)
        assert response.is_success, f"POST {path}: {response.text}"
        answer: dict[str, Any] = response.json()
        return answer

    def _run(self, *arguments: str, stdin: str = "") -> str:
        done = self.panel.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _end(step: dict[str, Any]) -> float:
    return datetime.fromisoformat(step["started_at"]).timestamp() + step["duration_seconds"]
