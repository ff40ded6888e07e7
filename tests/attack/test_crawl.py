"""A crawl of all pages with hostile input in every parameter: nothing comes back as markup, nothing leads elsewhere.

The crawler follows links and forms by itself, so a new page is attacked without a change here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import pytest
from django.db import connection
from django.test import Client

from tests.attack.conftest import LONG
from tests.support.planted import MARKUP, TAG, plant
from tests.support.undone import undone
from tests.web.world import PASSWORD, World

EVIL = "https://evil.test/"
PAYLOADS = {
    "markup": MARKUP,
    "end of script": f"</script></textarea></title><{TAG}>",
    "template": f"{{{{7*7}}}}{TAG}{{% debug %}}${{7*7}}#{{7*7}}",
    "lines": f"{TAG}\r\nX-Evil: 1\r\n\r\n<{TAG}>",
    "SQL": f"{TAG}' OR '1'='1\" --",
    "address": EVIL,
    "no scheme": "//evil.test/",
    "script address": f"javascript:{TAG}()",
    "way up": "../../../../../../etc/passwd",
    "NUL": f"{TAG}\x00",
    "long": "9" * 5000,
    "direction": f"\u202e{TAG}\u2028",
}
PARAMETERS = (
    *("next", "q", "page", "cursor", "limit", "project", "environment", "server", "status", "other", "commit", "tab"),
    *("step", "after", "from", "to", "kind", "event", "who", "actor", "action", "offset", "format", "token", "key"),
    *("since", "until", "outcome", "sort", "order", "branch", "user", "team", "seq", "file", "path", "url", "id"),
)
ENDS_THE_CRAWL = re.compile(r"/accounts/logout/|/export|/reauthenticate")
"""What is only attacked with its changes taken back, like everything; and not followed on."""
TEMPLATE_RUN = re.compile(rf"49{TAG}|{TAG}.{{0,20}}(49|DEBUG)")
SQL_ERROR = re.compile(r"psycopg|syntax error at or near|SELECT .+ FROM|ProgrammingError|DataError|Traceback \(most")
MOST_PAGES = 400


@dataclass
class Form:
    """A form of a page: `values` are those that a browser would send, `typed` the fields that a person fills."""

    action: str
    method: str = "get"
    values: dict[str, str] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)

    def filled(self, text: str, *only: str) -> dict[str, str]:
        return self.values | dict.fromkeys(only or self.typed, text)


class Page(HTMLParser):
    """Links, forms, and what an attacker would have brought in."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.faults: list[str] = []
        self.text = ""
        self._select = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if TAG in tag or any(TAG in name for name in given) or any(name.startswith("on") for name in given):
            self.faults.append(f"<{tag} {given}> is markup that was brought in")
        for name in ("href", "src", "action", "formaction", "data", "hx-get", "hx-post"):
            value = re.sub(r"[\x00-\x20]", "", given.get(name, "")).lower()
            if value.startswith(("javascript:", "data:text", "vbscript:", "//evil.test")):
                self.faults.append(f"{name}={value[:60]!r}")
        self._links_and_forms(tag, given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self.forms:
            self.forms.append(Form(self.address))  # what stands outside of forms
        elif tag == "select":
            self._select = ""

    def _links_and_forms(self, tag: str, given: dict[str, str]) -> None:
        for name in ("href", "hx-get"):
            if name in given and tag != "link":
                self.links.append(urljoin(self.address, given[name]))
        if "hx-post" in given:
            self.forms.append(Form(urljoin(self.address, given["hx-post"]), "post"))
        if tag == "form":
            self.forms.append(Form(urljoin(self.address, given.get("action", "")), given.get("method", "get").lower()))
        if not self.forms:
            return
        form = self.forms[-1]
        if tag in ("input", "textarea", "button") and (name := given.get("name")):
            kind = given.get("type", "text" if tag == "input" else tag)
            if kind in ("checkbox", "radio") and "checked" not in given and name in form.values:
                return
            form.values[name] = given.get("value", "on" if kind == "checkbox" else "")
            if name != "csrfmiddlewaretoken":
                form.typed.append(name)
        elif tag == "select" and (name := given.get("name")):
            self._select = name
            form.typed.append(name)
        elif tag == "option" and self._select and ("selected" in given or self._select not in form.values):
            form.values[self._select] = given.get("value", "")


@dataclass
class Crawler:
    """A browser that attacks. `tried` counts its requests by their answers' status; `faults` are what it found."""

    client: Client
    tried: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._cookies = self.client.cookies.output(header="", sep=";")

    def get(self, address: str, headers: dict[str, str] | None = None) -> Any:
        return self._judged("GET", address, lambda: self.client.get(address, headers=headers))

    def post(self, address: str, values: dict[str, str]) -> Any:
        return self._judged("POST", f"{address} {values}", lambda: self.client.post(address, values))

    def _judged(self, method: str, told: str, ask: Any) -> Any:
        self.client.cookies.clear()  # one of the forms logs out, and that is taken back, too
        self.client.cookies.load(self._cookies)
        with undone():
            answer = ask()
            text = _text(answer)
        self.tried[answer.status_code] += 1
        problems = list(_problems(answer, text))
        self.faults += [f"{method} {told[:300]}: {problem}" for problem in problems]
        return answer, text

    def walk(self, *starts: str) -> Iterator[tuple[str, Page]]:
        """Every page that links lead to from here."""
        waiting, seen = list(starts), set(starts)
        while waiting and len(seen) < MOST_PAGES:
            address = waiting.pop(0)
            answer, text = self.get(address)
            if answer.status_code != 200 or "html" not in answer.get("Content-Type", ""):
                if "Location" in answer.headers:
                    _add(waiting, seen, [urljoin(address, answer["Location"])])
                continue
            page = Page(address)
            page.feed(text)
            self.faults += [f"GET {address}: {fault}" for fault in page.faults]
            yield address, page
            _add(waiting, seen, page.links)


def _add(waiting: list[str], seen: set[str], links: Iterable[str]) -> None:
    for link in links:
        parts = urlsplit(link)
        address = parts.path + (f"?{parts.query}" if parts.query else "")
        if parts.netloc or not address.startswith("/") or ENDS_THE_CRAWL.search(address) or address in seen:
            continue
        if "/static/" not in address:
            seen.add(address)
            waiting.append(address)


def _text(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode(errors="replace")


def _problems(answer: Any, text: str) -> Iterator[str]:
    if answer.status_code >= 500:
        yield f"answered {answer.status_code}"
    for name, value in answer.headers.items():
        if "evil" in name.lower() or "\n" in value or "\r" in value:
            yield f"header {name}: {value!r}"
    location = answer.headers.get("Location", "") or answer.headers.get("HX-Redirect", "")
    if re.match(r"(?i)\s*(https?:)?[/\\]{2}evil|\s*javascript:", location):
        yield f"leads to {location!r}"
    if "root:x:0" in text:
        yield "shows /etc/passwd"
    if SQL_ERROR.search(text):
        yield f"tells an error: {SQL_ERROR.search(text)}"
    if "html" in answer.headers.get("Content-Type", "text/html"):
        page = Page("/")
        page.feed(text)
        yield from page.faults
        if TEMPLATE_RUN.search(text):
            yield "runs templates"


@pytest.fixture
def crawler(owner: Client) -> Crawler:
    return Crawler(owner)


@pytest.fixture
def planted(world: World) -> World:
    """The world with markup in all its texts."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # rows that may only be added, too
        assert plant() > 30
        cursor.execute("SET LOCAL session_replication_role = origin")
    return world


def _starts(world: World) -> tuple[str, ...]:
    return ("/", f"/deployments/{world.deployment.pk}/", "/accounts/login/", "/accounts/password/reset/")


def test_what_is_kept_is_shown_as_text(planted: World, crawler: Crawler) -> None:
    pages = [page for _, page in crawler.walk(*_starts(planted))]
    planted_pages = sum(TAG in page.text for page in pages)
    print(f"{len(pages)} pages, planted markup as text on {planted_pages}, {dict(crawler.tried)} requests")
    assert not crawler.faults, "\n".join(crawler.faults)
    assert len(pages) > 30
    assert planted_pages > 20


def test_what_is_typed_into_forms_comes_back_as_text(world: World, crawler: Crawler) -> None:
    forms: dict[tuple[str, ...], Form] = {}
    for _, page in crawler.walk(*_starts(world)):
        for form in page.forms:
            if form.typed or form.method == "post":
                forms.setdefault((form.method, urlsplit(form.action).path, *sorted(form.values)), form)
    for form in forms.values():
        for text in PAYLOADS.values():
            _submit(crawler, form, form.filled(text))
        for name in form.typed if len(form.typed) > 1 else ():
            for text in PAYLOADS.values() if LONG else (MARKUP, f"{TAG}\x00"):
                _submit(crawler, form, form.filled(text, name))
    print(f"{len(forms)} forms, {dict(crawler.tried)} requests")
    assert not crawler.faults, "\n".join(crawler.faults)
    assert len(forms) > 30
    assert crawler.tried[422] > 200, "what is typed wrongly is shown again"


def _submit(crawler: Crawler, form: Form, values: dict[str, str]) -> None:
    if form.method == "post":
        crawler.post(form.action, values)
    else:
        crawler.get(f"{form.action.partition('?')[0]}?{urlencode(values)}")


def test_what_stands_in_an_address_or_a_header_comes_back_as_text(world: World, crawler: Crawler) -> None:
    pages = [address for address, _ in crawler.walk(*_starts(world))]
    paths = {}
    for address in pages:  # one of each kind
        paths.setdefault(re.sub(r"[0-9a-f-]{36}|\d+", "#", urlsplit(address).path), address)
    for address in paths.values():
        given = dict(parse_qsl(urlsplit(address).query))
        for text in PAYLOADS.values():
            line = text.replace("\r", "").replace("\n", "").replace("\x00", "")[:200]
            headers = {"Referer": line, "User-Agent": line, "X-Forwarded-Host": "evil.test", "HX-Current-URL": line}
            headers |= {"HX-Request": "true"} if len(line) % 2 else {}
            headers |= {"Accept-Language": line, "X-Forwarded-For": line, "HX-Target": line, "X-Request-ID": line}
            query = urlencode({**dict.fromkeys(PARAMETERS, text), **dict.fromkeys(given, text)})
            crawler.get(f"{urlsplit(address).path}?{query}", headers)
        parts = urlsplit(address).path.split("/")
        for place in [number for number, part in enumerate(parts) if part]:
            for text in (*PAYLOADS.values(), "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd") if LONG else (MARKUP, "a\x00b"):
                crawler.get("/".join([*parts[:place], quote(text, safe="%"), *parts[place + 1 :]]))
    print(f"{len(paths)} kinds of pages, {dict(crawler.tried)} requests")
    assert not crawler.faults, "\n".join(crawler.faults)


@pytest.mark.parametrize(
    "target",
    [
        EVIL,
        "//evil.test",
        "///evil.test",
        "////evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/\t/evil.test",
        "https:evil.test",
        "https:/evil.test",
        "javascript:alert(1)",
        "http://testserver@evil.test/",
        "http://evil.test\\@testserver/",
        " //evil.test",
        "%2f%2fevil.test",
        "/%0d%0aLocation:%20//evil.test",
        "data:text/html,x",
    ],
)
def test_nothing_leads_out_of_the_panel(world: World, target: str) -> None:
    """Open redirects: `next` at log-in and log-out, the way back of what is posted."""
    form = {"login": "owner@example.test", "password": PASSWORD, "next": target}
    log_in = Client().post(f"/accounts/login/?{urlencode({'next': target})}", form)
    assert _leads_inside(log_in), log_in.headers
    client = world.client("owner")
    for address in ("/accounts/login/", "/accounts/reauthenticate/", "/accounts/signup/", "/join/"):
        answer = client.get(f"{address}?{urlencode({'next': target})}", headers={"Referer": target})
        assert _leads_inside(answer), (address, answer.headers)
    reauthenticated = {"next": target, "password": PASSWORD}
    answer = client.post(f"/accounts/reauthenticate/?{urlencode({'next': target})}", reauthenticated)
    assert _leads_inside(answer), answer.headers
    for address in ("/projects/shop/variables/export/", "/tokens/"):  # what asks for the password again goes back there
        headers = {"Referer": target, "HX-Current-URL": target, "HX-Request": "true"}
        answer = world.client("owner").post(address, {"next": target}, headers=headers)
        assert "evil.test" not in str(answer.headers), address
    for address in ("/theme", "/theme/", "/team/switch/", "/accounts/logout/"):
        headers = {"Referer": target}
        form = {"next": target, "theme": "dark", "team": str(world.team.pk)}
        assert _leads_inside(client.post(f"{address}?{urlencode({'next': target})}", form, headers=headers)), address


def _leads_inside(answer: Any) -> bool:
    location = answer.headers.get("Location", "/")
    browser_reads = re.sub(r"[\t\r\n]", "", location.strip()).replace("\\", "/")
    return urlsplit(urljoin("http://testserver/", browser_reads)).hostname == "testserver" and not re.match(
        r"(?i)(javascript|data|https?):(?!//testserver)", browser_reads
    )
