"""A static site that a panel on this machine deploys when its repository's webhook tells of a push."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.gitrepo import GitRepository
from tests.support.panel import Panel, wait_until
from tests.support.payloads import github_push, sent

ENDED = ("success", "failed", "rolled_back", "cancelled", "superseded")


@dataclass
class HookedSite:
    """Project and environment of a running panel. Make one with `add`."""

    panel: Panel
    api: httpx.Client
    slug: str
    repository: GitRepository
    root: Path
    address: str
    secret: str
    provider: str = "github"
    commits: list[str] = field(default_factory=list)

    @classmethod
    def add(cls, panel: Panel, folder: Path, *, provider: str = "github", **settings: Any) -> HookedSite:
        """A site of its own below `folder`, with a webhook; `settings` are of the environment."""
        api = httpx.Client(
            base_url=f"{panel.url}/api/v1/", headers={"Authorization": f"Bearer {admin_token(panel)}"}, timeout=60
        )
        slug = "site-" + os.urandom(3).hex()
        repository = GitRepository.local(folder / f"{slug}.git", folder / f"{slug}-work")
        if api.get("servers/local").status_code == 404:
            _made(api.post("servers", json={"name": "local", "is_local": True}))
        root = folder / "sites" / slug
        root.parent.mkdir(exist_ok=True)
        _made(api.post("projects", json={"slug": slug, "repository": repository.path, "recipe": "static"}))
        environment: dict[str, Any] = {"name": "production", "branch": "main", "servers": ["local"], "root": str(root)}
        environment |= {"auto_deploy": True, **settings}
        _made(api.post(f"projects/{slug}/environments", json=environment))
        webhook = _made(api.put(f"projects/{slug}/webhook", json={"provider": provider}))
        address = panel.url + httpx.URL(webhook["url"]).path
        return cls(panel, api, slug, repository, root, address, webhook["secret"], provider)

    def close(self) -> None:
        self.api.close()

    def commit(self, text: str, **how: Any) -> str:
        """Pushed to the repository; the webhook is not told."""
        self.commits.append(self.repository.commit({"index.html": text}, **how))
        return self.commits[-1]

    def request(self, commit: str, **how: Any) -> tuple[bytes, dict[str, str]]:
        return sent(self.provider, github_push(commit, **how), self.secret)

    def tell(self, commit: str, client: httpx.Client | None = None, **how: Any) -> httpx.Response:
        """The webhook of a push of this commit."""
        body, headers = self.request(commit, **how)
        return (client or self.api).post(self.address, content=body, headers=headers)

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        return dict(_made(self.api.get(f"deployments/{deployment_id}")))

    def deployments(self) -> list[dict[str, Any]]:
        """All of them, the newest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            path = f"projects/{self.slug}/environments/production/deployments"
            page = _made(self.api.get(path, params={"limit": 200, "cursor": cursor}))
            found += page["items"]
            cursor = page["next"]
        return found

    def wait_ended(self, deployment_id: str, timeout_seconds: float = 60) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found = self.deployment(deployment_id)
            return found if found["status"] in ENDED else None

        return wait_until(ended, timeout_seconds, what=self.panel.output)

    def wait_quiet(self, timeout_seconds: float = 60) -> list[dict[str, Any]]:
        """All deployments, when every one has ended."""

        def quiet() -> list[dict[str, Any]] | None:
            found = self.deployments()
            return found if all(each["status"] in ENDED for each in found) else None

        return wait_until(quiet, timeout_seconds, what=self.panel.output)

    def page(self) -> str:
        """What the site shows."""
        return (self.root / "current" / "index.html").read_text()


def admin_token(panel: Panel) -> str:
    """Of a user who is made where there is none yet."""
    email = "hooks@example.test"
    made = panel.run("admin", "create-user", "--email", email, "--password-stdin", stdin=secrets.token_urlsafe(16))
    assert made.returncode == 0 or "already" in made.stderr, made.stderr
    token = panel.run("admin", "create-token", "--email", email, "--scopes", "read,deploy,admin")
    assert token.returncode == 0, token.stderr
    return token.stdout.split()[-1]


def _made(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json()
