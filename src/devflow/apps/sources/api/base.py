"""What the APIs of all git providers have in common: who asks, what is told, how refusals are read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from django.utils import timezone

from devflow.apps import outgoing
from devflow.apps.outgoing import Response
from devflow.core.errors import OutgoingError
from devflow.core.masking import Masker

WAITING, PENDING, SUCCESS, FAILURE, CANCELLED = "waiting", "pending", "success", "failure", "cancelled"
STATES = (WAITING, PENDING, SUCCESS, FAILURE, CANCELLED)
"""One that waits, in the queue or for a window, has not begun; `pending` is on its way."""
TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Access:
    """`url` is the API's base without a slash at its end, `repository` the name there, like `team/app`."""

    url: str
    token: str
    repository: str

    @property
    def path(self) -> str:
        """The repository's name as a part of an address, its slashes kept."""
        return quote(self.repository, safe="/")


@dataclass(frozen=True, slots=True)
class State:
    """A deployment's state, as it is told: one of STATES; `context` names who says it."""

    commit: str
    state: str
    context: str
    description: str
    url: str
    environment: str
    branch: str = ""


class ProviderApi:
    """What the panel does at a provider. Every method raises OutgoingError; its message never holds the token.

    `public_url` is the base of the provider's own service, `path` what a self-hosted one has after its host,
    `token_help` what the token must be allowed to do. Where `has_deployments`, there is a list of deployments beside
    the statuses of commits.
    """

    title: ClassVar[str]
    public_host: ClassVar[str]
    public_url: ClassVar[str]
    path: ClassVar[str]
    token_help: ClassVar[str]
    has_deployments: ClassVar[bool] = False

    def base_url(self, given: str, repository_url: str) -> str:
        """The base to use: what is given, its path added where there is none, else that of the repository's host."""
        given = given.strip().rstrip("/")
        if given and urlsplit(given).path:
            return given
        host = urlsplit(given).hostname if given else host_of(repository_url)
        if not host or host in (self.public_host, urlsplit(self.public_url).hostname):
            return self.public_url
        return f"{given or f'https://{host}'}{self.path}"

    async def check(self, access: Access) -> str:
        """The full name of the repository that the token opens."""
        raise NotImplementedError

    async def set_status(self, access: Access, state: State) -> None:
        """Shows the state at the commit."""
        raise NotImplementedError

    async def make_deployment(self, access: Access, state: State) -> str:
        """Makes the deployment in the provider's list; returns its id."""
        raise NotImplementedError

    async def set_deployment(self, access: Access, state: State, deployment_id: str) -> None:
        """Tells the state of a deployment that was made."""
        raise NotImplementedError

    async def make_tag(self, access: Access, name: str, commit: str, message: str) -> None:
        """Tags the commit; does nothing where the tag is there already."""
        raise NotImplementedError

    async def make_hook(self, access: Access, url: str, secret: str) -> str:
        """Makes the webhook, or sets the one that is at this address already; returns its id."""
        raise NotImplementedError

    def headers(self, token: str) -> dict[str, str]:
        raise NotImplementedError

    async def ask(self, access: Access, method: str, path: str, body: Any = None) -> Response:
        """The answer, whatever its status, its text without the token."""
        answer = await outgoing.request(
            method,
            f"{access.url}{path}",
            json=body,
            headers={"Accept": "application/json", **self.headers(access.token)},
            timeout_seconds=TIMEOUT_SECONDS,
        )
        text = Masker([access.token]).mask(answer.text) if access.token else answer.text
        return Response(answer.host, answer.status, answer.headers, text)

    async def do(self, access: Access, method: str, path: str, body: Any = None) -> Any:
        """The document of a successful answer."""
        answer = await self.ask(access, method, path, body)
        require_success(answer)
        return answer.json()


def require_success(answer: Response) -> None:
    """Raises OutgoingError. Limits on the number of requests, which some answer with 403, are transient."""
    if answer.status == 403 and (wait := _limited_seconds(answer)) is not None:
        told = f"{answer.host} takes no more requests for now."
        raise OutgoingError(told, transient=True, status=403, retry_after_seconds=wait)
    if answer.status in (401, 403):
        what = "the access token is not accepted" if answer.status == 401 else "the access token may not do this"
        raise OutgoingError(f"{answer.host} answered {answer.status}: {what}.", status=answer.status)
    if answer.status == 404:
        told = f"{answer.host} answered 404: there is no such repository or commit, or the access token may not see it."
        raise OutgoingError(told, status=404)
    answer.require_success()


def id_of(document: Any, name: str = "id") -> str:
    """The id in an answer; '' where it has none."""
    found = document.get(name) if isinstance(document, dict) else None
    return str(found)[:200] if isinstance(found, int | str) else ""


def hook_at(url: str, hooks: Any, name: str = "id") -> str:
    """The id of the webhook with this address in a list of them; '' where it has none."""
    for hook in hooks if isinstance(hooks, list) else []:
        config = hook.get("config", hook) if isinstance(hook, dict) else None
        if isinstance(config, dict) and config.get("url") == url:
            return id_of(hook, name)
    return ""


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def host_of(repository_url: str) -> str:
    """`git.example.org` of https://…, ssh://… or git@…; '' of a path."""
    if "://" in repository_url:
        with suppress(ValueError):
            return urlsplit(repository_url).hostname or ""
        return ""
    user_host, colon, _ = repository_url.partition(":")
    return user_host.rpartition("@")[2].lower() if colon and "/" not in user_host else ""


def repository_of(repository_url: str) -> str:
    """`team/app` of https://host/team/app.git, ssh://git@host:22/team/app or git@host:team/app.git; '' of a path."""
    if not host_of(repository_url):
        return ""
    path = urlsplit(repository_url).path if "://" in repository_url else repository_url.partition(":")[2]
    path = path.strip("/").removesuffix(".git")
    return path if "/" in path else ""


def _limited_seconds(answer: Response) -> float | None:
    """How long to wait, where it is a limit."""
    if (asked := answer.retry_after_seconds) is not None:
        return asked
    if answer.headers.get("x-ratelimit-remaining") != "0":
        return None
    reset = answer.headers.get("x-ratelimit-reset", "")
    return max(0.0, float(reset) - timezone.now().timestamp()) if reset.isdecimal() and reset.isascii() else 60.0
