"""What every answer of a panel that really runs has: found by its addresses, not by a list.

Asked are all addresses of pages and API with all methods, all that pages link to, built files, streams, webhooks,
health and errors of every kind.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from html import unescape
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from devflow.web import headers
from devflow.web.bodies import LARGEST
from tests.support.panel import Panel, free_port

pytestmark = pytest.mark.timeout(180)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PLACES = {"slug": "shop", "name": "production", "kind": "slack", "key": "APP_KEY"}
ELSEWHERE = (
    *("https://evil.example/", "//evil.example/", "///evil.example/", "/\\evil.example/", "\\\\evil.example/"),
    *("http:evil.example", "https:///evil.example", "javascript:alert(1)", "/\t/evil.example/", " //evil.example/"),
    *("http://localhost:9/", "http://127.0.0.1:9/", "http://user@127.0.0.1/", "data:text/html,x"),
)
KEPT = re.compile(r"/static/|/devflow\.schema\.json$")


@dataclass
class Seen:
    """Answers of one panel: where, how, and with which headers."""

    answers: list[httpx.Response] = field(default_factory=list)

    def of(self, *, path: str = "", status: int = 0) -> list[httpx.Response]:
        return [each for each in self.answers if path in each.request.url.path and status in (0, each.status_code)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as panel:
        command = [sys.executable, "-m", "tests.support.page_world"]
        done = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        filled = json.loads(done.stdout.splitlines()[-1])
        found = Seen()
        cookies = {"devflow_session": filled["session"]}
        deployment = filled["deployments"]["success"]
        with (
            httpx.Client(base_url=panel.url, cookies=cookies, timeout=30) as owner,
            httpx.Client(base_url=panel.url, timeout=30) as nobody,
        ):
            for address in crawl(owner, found):
                found.answers.append(nobody.get(address))
            for address in addresses(get_resolver().url_patterns):
                for method in METHODS:
                    found.answers.append(owner.request(method, address))
            for client in (owner, nobody):
                ask_others(client, found, deployment)
                send_away(client, found)
        yield found


def crawl(client: httpx.Client, found: Seen) -> list[str]:
    """Every page that can be reached by links from the first one, with what it loads."""
    waiting = ["/", "/api/v1/docs"]
    known = set(waiting)
    for address in waiting:
        if "/logout" in address:
            continue
        answer = client.get(address)
        found.answers.append(answer)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        for link in re.findall(r'\s(?:href|src|hx-get|action|data-head)="([^"]+)"', answer.text):
            target = urlsplit(urljoin(str(answer.url), unescape(link)))
            path = target.path + (f"?{target.query}" if target.query else "")
            if target.netloc == answer.url.netloc.decode() and path not in known:
                known.add(path)
                waiting.append(path)
    return waiting


def addresses(patterns: Iterable[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    """One address of each route; what stands for an object is the world's where it has one of the name."""
    for pattern in patterns:
        route = before + str(pattern.pattern).removeprefix("^").removesuffix(r"\Z").removesuffix("$")
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
            continue
        if "logout" in route:  # the session is needed further on
            continue
        route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route)
        yield re.sub(r"<(?:(\w+):)?(\w+)>", partial(_filled, route), route)


def _filled(route: str, found: re.Match[str]) -> str:
    converter, name = found.groups()
    if converter == "uuid" or name.endswith("_id"):
        return str(uuid.UUID(int=7))
    if name == "name" and "servers/" in route:
        return "web-1"
    return PLACES.get(name, "1")


def ask_others(client: httpx.Client, found: Seen, deployment: str) -> None:
    for method, address, sent in (
        *((method, "/healthz", {}) for method in ("GET", "POST")),
        ("GET", "/readyz", {}),
        ("GET", f"/api/v1/deployments/{deployment}/events", {}),
        ("GET", f"/api/v1/deployments/{deployment}/events?after=99999999", {}),
        ("GET", "/api/v1/deployments/none/events", {"authorization": "Bearer wrong"}),
        ("POST", "/webhooks/github/wrong", {}),
        ("GET", "/webhooks/github/wrong", {}),
        ("GET", "/", {"host": "evil.example"}),
        ("GET", "/api/v1/projects", {"host": "evil.example"}),
        ("GET", "/nothing/there", {}),
        ("GET", "/static/nothing.js", {}),
        ("GET", "/api/v1/nothing", {}),
        ("POST", "/theme/", {}),
    ):
        found.answers.append(client.request(method, address, headers=sent))
    for address in ("/accounts/login/", "/api/v1/projects", "/webhooks/github/wrong"):
        found.answers.append(client.post(address, content=b"x" * (LARGEST + 1)))


def send_away(client: httpx.Client, found: Seen) -> None:
    """Where an address says where to go next, and where a page looks where one came from."""
    paths = {urlsplit(str(each.request.url)).path for each in found.of(status=200)} | {"/accounts/login/", "/theme/"}
    for path in sorted(path for path in paths if not path.startswith(("/static/", "/api/"))):
        evil = {"next": "//evil.example/x", "back": "//evil.example/x", "url": "//evil.example/x"}
        found.answers.append(client.get(path, params=evil, headers={"Referer": "https://evil.example/x"}))
        found.answers.append(client.post(path, params=evil, data=evil, headers={"Referer": "https://evil.example/x"}))
    for to in ELSEWHERE:
        for path in ("/accounts/login/", "/accounts/logout/", "/accounts/reauthenticate/"):
            found.answers.append(client.get(path, params={"next": to}))


def test_it_has_come_round(seen: Seen) -> None:
    """The other tests are worth something: every kind of answer is among those that they look at."""
    assert {200, 204, 302, 400, 401, 403, 404, 405, 413} <= {each.status_code for each in seen.answers}
    assert len({each.request.url.path for each in seen.of(status=200)}) > 50
    for path in ("/static/build/", "/static/ninja/", "/events", "/api/v1/docs", "/projects/shop/", "/channels/"):
        assert seen.of(path=path, status=200), path
    assert not seen.of(status=500)


def test_every_answer_makes_browsers_careful(seen: Seen) -> None:
    for answer in seen.answers:
        for name, value in headers.ALWAYS.items():
            assert answer.headers.get_list(name) == [value], (answer.request.method, answer.url)
        assert "strict-transport-security" not in answer.headers  # this panel is not reached by https
        for name in ("server", "x-powered-by", "access-control-allow-origin"):
            is_for_all = name.startswith("access") and answer.request.url.path == "/devflow.schema.json"
            assert is_for_all or name not in answer.headers, answer.url


def test_nothing_but_built_files_is_kept(seen: Seen) -> None:
    for answer in seen.answers:
        how = answer.headers.get_list("cache-control")
        if KEPT.search(answer.request.url.path) and answer.status_code == 200:
            continue
        assert len(how) == 1, answer.url
        assert "no-store" in how[0], (answer.request.method, answer.url, how)


def test_cookies_are_for_the_panel_alone(seen: Seen) -> None:
    given = {cookie for answer in seen.answers for cookie in answer.headers.get_list("set-cookie")}
    assert given
    for cookie in given:
        flags = {part.strip().lower().partition("=")[0] for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite", "path"} <= flags, cookie
        assert "domain" not in flags, cookie
        assert "SameSite=Lax" in cookie, cookie


def test_nobody_is_sent_elsewhere(seen: Seen) -> None:
    for answer in seen.answers:
        for name in ("location", "hx-redirect", "hx-location"):
            to = answer.headers.get(name, "/")
            assert re.match(r"/(?!/)", to), (answer.url, to)


def test_no_page_links_to_where_its_address_says(seen: Seen) -> None:
    for answer in seen.answers:
        links = re.findall(r'\s(?:href|src|action|formaction|content)="([^"]*)"', answer.text)
        elsewhere = [
            link for link in links if re.match(r"\s*(//|https?:|javascript:|data:text).*(evil|:9)", unescape(link))
        ]
        assert not elsewhere, (answer.url, elsewhere)


def test_every_form_that_posts_carries_its_token(seen: Seen) -> None:
    posting = [
        (str(answer.url), form)
        for answer in seen.answers
        for form in re.findall(r"<form\b.*?</form>", answer.text, re.DOTALL)
        if re.search(r'method="?post', form, re.IGNORECASE)
    ]
    assert len(posting) > 50
    assert not [each for each in posting if "csrfmiddlewaretoken" not in each[1]]


def test_what_is_no_page_says_what_it_is(seen: Seen) -> None:
    for answer in seen.answers:
        if answer.content:
            assert answer.headers.get("content-type"), answer.url
        if answer.status_code >= 400 and answer.request.url.path.startswith("/api/") and answer.content:
            assert answer.headers["content-type"] == "application/problem+json", answer.url


def test_behind_https_browsers_are_told_to_stay_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"DEVFLOW_URL": "https://panel.example.org", "DEVFLOW_TRUSTED_PROXIES": "127.0.0.1"}
    with Panel(tmp_path_factory.mktemp("panel") / "data", free_port(), **settings) as panel:
        proxied = {"X-Forwarded-Proto": "https", "Host": "panel.example.org"}
        with httpx.Client(base_url=panel.url, headers=proxied) as client:
            for path in ("/accounts/login/", "/healthz", "/api/v1/projects", "/static/nothing", "/webhooks/a/b"):
                assert client.get(path).headers["strict-transport-security"] == "max-age=31536000", path
            given = client.get("/accounts/login/").headers.get_list("set-cookie")
    assert given
    for cookie in given:
        assert cookie.startswith("__Host-")
        assert "; Secure" in cookie
        assert "Path=/" in cookie
