"""Somebody who uses a running panel through its API, with a token."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.panel import wait_until

OPEN = ("pending", "queued", "waiting", "running", "verifying")


class PanelUser:
    """`url` is the panel's address."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = f"{url}/api/v1", {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self._url}/{path}", json=body, headers=self._headers, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self.ask("POST", path, body)

    def deploy(self, project: str) -> dict[str, Any]:
        """Deploys to production; the deployment when it has ended."""
        return self.ended(self.post(f"projects/{project}/deploy", environment="production")["id"])

    def ended(self, identity: str) -> dict[str, Any]:
        path = f"deployments/{identity}"
        wait_until(lambda: self.get(path)["status"] not in OPEN, 60)
        found: dict[str, Any] = self.get(path)
        return found
