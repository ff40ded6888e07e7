"""Every page that there is, taken from the addresses themselves, with its parameters filled from the tests' world."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, resolve, reverse
from django.urls.resolvers import RoutePattern

from devflow.web import urls
from tests.web.world import World

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_PARAMETER = re.compile(r"([^/<>]*)/<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Page:
    """An address. `methods` are those that it is there for; None where the view is not ours (allauth)."""

    name: str
    route: str
    methods: tuple[str, ...] | None

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The names of its parameters, each with the place that it stands in: `environments/<name>`."""
        return [(name, f"{before}/<{name}>") for before, name in _PARAMETER.findall(self.route)]

    @property
    def is_ours(self) -> bool:
        return self.methods is not None

    def address(self, filling: dict[str, str]) -> str:
        """Fails, and says what to add, where the world has nothing to put in."""
        if self.name in filling:
            return filling[self.name]
        missing = [place for _, place in self.parameters if place not in filling]
        if missing or ("(?P" in self.route):
            pytest.fail(
                f"{self.name}: nothing to put in for {', '.join(missing) or self.route}. "
                f"Add it to `filling` in tests/web/walk.py, with what it names to `make_world`."
            )
        return reverse(self.name, kwargs={name: filling[place] for name, place in self.parameters})


def pages() -> list[Page]:
    return sorted(_pages(urls.urlpatterns, ""), key=lambda page: page.route)


def filling(world: World) -> dict[str, str]:
    """What stands for each parameter, by its place; whole addresses by the name of the page."""
    return {
        "projects/<slug>": world.project.slug,
        "environments/<name>": "production",
        "servers/<name>": "web-1",
        "clusters/<cluster>": world.cluster.name,
        "deployments/<deployment_id>": str(world.deployment.pk),
        "webhook/<delivery_id>": str(world.delivery.pk),
        "channels/<channel_id>": str(world.channel.pk),
        "deliveries/<delivery_id>": str(world.notification.pk),
        "devices/<device_id>": str(world.device.pk),
        "tokens/<token_id>": str(world.token.pk),
        "invitations/<invitation_id>": str(world.invitation.pk),
        "members/<member_id>": str(world.member.pk),
        "audit/<event_id>": str(world.event.pk),
        "archives/<archive_id>": str(world.archive.pk),
        "containers/<container>": world.container.id[:12],
        "container-logs/<follow_id>": str(world.follow.pk),
        **OF_NOBODY,
    }


OF_NOBODY = {
    "channel/<kind>": "slack",
    "sessions/<session_id>": "1",
    "join/<raw>": "no-invitation",
    "passkeys/<pk>": "1",
    "confirm-email/<key>": "no-key",
    "account_reset_password_from_key": "/accounts/password/reset/key/1-no-key/",
}
"""Parameters that name nothing of a team: kinds, and what is a person's own."""


def names_something(page: Page) -> bool:
    """Whether its address names something of a team."""
    return any(place not in OF_NOBODY for _, place in page.parameters)


def ask(client: Client, method: str, address: str, data: Any = ()) -> HttpResponse:
    """The answer; `data` is posted as a form."""
    body = urlencode(data, doseq=True) if method == "POST" else ""
    answer: HttpResponse = client.generic(method, address, body, content_type="application/x-www-form-urlencoded")  # type: ignore[assignment]
    if not answer.streaming:
        return answer
    # a file: reading it to its end closes it, and with it the request
    return HttpResponse(answer.getvalue(), status=answer.status_code, headers=dict(answer.items()))


# --- forms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A form that a page shows: what it posts, where to. `sends` are its fields and what they hold."""

    page: str
    address: str
    sends: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Of the page that takes it."""
        return str(resolve(self.address).url_name)

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.sends))

    def data(self, **instead: str) -> list[tuple[str, str]]:
        kept = [(name, value) for name, value in self.sends if name not in instead]
        return [*kept, *instead.items()]


def forms_of(address: str, html: str) -> list[Form]:
    """The forms of a page that post something."""
    reader = _Forms(address)
    reader.feed(html)
    return reader.found


class _Forms(HTMLParser):
    """Collects forms with the values that a browser would send; of choices that are made by hand, the first."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._address = address
        self._action: str | None = None
        self._sends: list[tuple[str, str]] = []
        self._select = ""
        self._area = ""
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form" and given.get("method") == "post":
            self._action, self._sends = given.get("action") or self._address, []
        elif self._action is None:
            return
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in given or self._select not in dict(self._sends):
                self._put(self._select, given.get("value", ""), is_anew=True)
        elif tag == "textarea":
            self._area, self._text = name, ""
        elif tag in ("input", "button") and name and name != "csrfmiddlewaretoken":
            is_choice = given.get("type") in ("checkbox", "radio")
            if not is_choice or "checked" in given or name not in dict(self._sends):
                self._put(name, given.get("value", "on" if is_choice else ""), is_anew=given.get("type") == "radio")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "textarea" and self._area:
            self._put(self._area, self._text, is_anew=True)
            self._area = ""
        elif tag == "form" and self._action is not None:
            self.found.append(Form(self._address, self._action.partition("?")[0], tuple(self._sends)))
            self._action = None

    def _put(self, name: str, value: str, *, is_anew: bool) -> None:
        if is_anew:
            self._sends = [each for each in self._sends if each[0] != name]
        self._sends.append((name, value))


def _pages(patterns: Iterable[URLPattern | URLResolver], before: str) -> Iterator[Page]:
    for pattern in patterns:
        here = before + (pattern.pattern._route if isinstance(pattern.pattern, RoutePattern) else str(pattern.pattern))
        if isinstance(pattern, URLPattern):
            access = getattr(pattern.callback, "access", None)
            yield Page(str(pattern.name), here, access.methods if access else None)
        else:
            yield from _pages(pattern.url_patterns, here)
