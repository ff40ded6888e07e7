"""Small inputs that stand for something huge, and numbers and characters that nobody expects: refused, and soon."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from django.test import Client

from devflow.apps.accounts.services import token_create
from devflow.apps.projects.services import project_source
from devflow.apps.sources.services import Request, request_read, webhook_set
from devflow.core import dotenv
from devflow.core.errors import InvalidError
from devflow.engine import devfile
from devflow.engine.devfile import DevfileError
from devflow.recipes import RECIPES
from tests.support.payloads import sent
from tests.web.world import World

SOON_SECONDS = 5
"""Where nothing else runs, each takes well under one."""

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
YAML_BOMBS = {
    "a billion laughs": ALIASES,
    "merged a billion times": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 20)}]\n" for n in range(1, 60)),
    "an alias of itself": "a: &a [*a, *a]\n",
    "a map of itself": "a: &a\n  <<: *a\n  b: *a\n",
    "nested lists": "hooks: " + "[" * 30_000 + "]" * 30_000,
    "nested maps": "hooks: " + "{a: " * 15_000 + "}" * 15_000,
    "nested blocks": "".join("  " * n + "a:\n" for n in range(240)),
    "a huge key": "? " + "k" * 60_000 + "\n: 1\n",
    "a key that is a list": "? [a, b]\n: 1\n",
    "many keys": "".join(f"k{n}: 1\n" for n in range(8_000)),
    "many documents": "---\na: 1\n" * 6_000,
    "many anchors": "".join(f"- &a{n} x\n" for n in range(5_000)),
    "a huge number": "keep: " + "9" * 60_000,
    "a huge exponent": "keep: 1e999999999",
    "not a number": "keep: .nan",
    "endless": "keep: .inf",
    "sixty": "keep: 1:59:59",
    "a tag": "keep: !!python/object/apply:os.system [id]",
    "another tag": "keep: !!python/name:os.system",
    "a binary": "keep: !!binary " + "QUFB" * 10_000,
    "a timestamp": "keep: 99999-99-99T99:99:99Z",
    "a directive": "%YAML " + "9" * 10_000 + ".1\n---\nkeep: 3\n",
    "a tag directive": "%TAG ! tag:" + "a" * 60_000 + "\n---\n!x y\n",
    "quotes that never end": 'keep: "' + "\\\n" * 30_000,
    "comments": "#" * 65_000,
    "only blanks": " " * 65_000,
    "blanks and a tab": " " * 65_000 + "\t",
    "only colons": ":" * 60_000,
    "only dashes": "- " * 30_000,
    "only questions": "? " * 30_000,
    "only ampersands": "&" * 60_000,
    "NUL": 'health_check: {text: "\\0"}\n',
    "half a character": 'health_check: {text: "\\ud800"}\n',
}


@pytest.mark.parametrize("text", YAML_BOMBS.values(), ids=YAML_BOMBS)
def test_no_devflow_yml_takes_long_or_much(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(DevfileError) if text.strip("# ") else _nothing() as refused:
        devfile.parse(text, recipes=RECIPES, environment="production")
    assert time.monotonic() - begun < SOON_SECONDS
    if refused is not None:
        assert len(str(refused.value)) < 20_000


class _nothing:  # noqa: N801 - reads as a function
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        "A=x\n" + "".join(f"{chr(66 + n)}=${{{chr(65 + n)}}}${{{chr(65 + n)}}}\n" for n in range(24)),
        "A=" + "${A}" * 50_000,
        "A=${A:-" * 20_000 + "}" * 20_000,
        "A='" + "\\'" * 50_000,
    ],
)
def test_no_env_file_grows(text: str) -> None:
    begun = time.monotonic()
    try:
        size = sum(map(len, dotenv.parse(text).values()))
    except InvalidError as error:
        size = len(str(error))
    assert size < 10_000_000
    assert time.monotonic() - begun < SOON_SECONDS


# --- bodies of the API ------------------------------------------------------------------------------------------------

BODIES = {
    "nested lists": b"[" * 500_000,
    "nested and closed": b"[" * 200_000 + b"]" * 200_000,
    "nested objects": b'{"name":' * 200_000,
    "nested in a field": b'{"name": "x", "host": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a huge integer": b'{"name": "x", "host": "h.test", "port": ' + b"9" * 100_000 + b"}",
    "a large integer": b'{"name": "x", "host": "h.test", "port": ' + b"9" * 30 + b"}",
    "a port that is none": b'{"name": "x", "host": "h.test", "port": 65536}',
    "minus": b'{"name": "x", "host": "h.test", "port": -1}',
    "a huge exponent": b'{"name": "x", "host": "h.test", "port": 1e999999}',
    "not a number": b'{"name": "x", "host": "h.test", "port": NaN}',
    "endless": b'{"name": "x", "host": "h.test", "port": Infinity}',
    "NUL": b'{"name": "x\\u0000", "host": "h.test"}',
    "half a character": b'{"name": "\\ud800", "host": "h.test"}',
    "broken UTF-8": b'{"name": "\xff\xfe", "host": "h.test"}',
    "UTF-16": '{"name": "../x", "host": "h.test"}'.encode("utf-16"),
    "UTF-32 without a mark": '{"name": "x"}'.encode("utf-32-le"),
    "the same key twice": b'{"name": "../x", "name": "../y", "host": "h.test"}',
    "many keys": json.dumps({f"k{n}": 1 for n in range(100_000)}).encode(),
    "a huge key": b'{"' + b"k" * 1_000_000 + b'": 1}',
    "a list": b"[1, 2, 3]",
    "nothing": b"",
    "blanks": b" " * 1_000_000,
    "two documents": b"{}{}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.fixture
def ask(world: World) -> Any:
    _, raw = token_create(actor=world.actor(), name="attack", scopes=["admin"])
    client = Client(raise_request_exception=False)

    def send(method: str, path: str, body: bytes = b"", kind: str = "application/json", **headers: str) -> Any:
        return client.generic(
            method, f"/api/v1/{path}", body, content_type=kind, headers={"Authorization": f"Bearer {raw}", **headers}
        )

    return send


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_body_fells_the_api(ask: Any, body: bytes) -> None:
    begun = time.monotonic()
    answer = ask("POST", "servers", body)
    assert answer.status_code in (400, 413, 422), answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    assert len(answer.content) < 20_000
    assert time.monotonic() - begun < SOON_SECONDS


@pytest.mark.parametrize("values", [[1] * 10_001, {f"k{n}": [] for n in range(10_001)}, [[1] * 101] * 100])
def test_a_body_of_too_many_values_is_refused_before_each_is_checked(ask: Any, values: Any) -> None:
    answer = ask("POST", "servers", json.dumps({"name": "x", "host": values}).encode())
    assert answer.status_code == 413
    assert answer.json()["detail"] == "A body has at most 10,000 values."


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x", "x" * 5000])
def test_another_type_of_body_is_no_way_in(ask: Any, kind: str) -> None:
    body = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    answer = ask("POST", "servers", body, kind)
    assert 400 <= answer.status_code < 500
    assert b"root:" not in answer.content


@pytest.mark.parametrize(
    "query",
    [
        "limit=999999999",
        "limit=-1",
        "limit=1e9",
        "limit=" + "9" * 5000,
        "limit=50&limit=99999",
        "limit[]=1",
        "cursor=" + "A" * 900,
        "cursor=AA==",
        "cursor=gICA",
        "cursor=%00",
        "cursor=AAAA",
        "cursor=J3w9JyBPUiAxPTE=",
        "&".join(f"a{n}=b" for n in range(1500)),
        "a=" + "b" * 100_000,
        "%",
        "%zz=%zz",
        "status=%00",
        "status=" + "x" * 5000,
        "project=%00",
        "=" * 1000,
    ],
)
@pytest.mark.parametrize("path", ["servers", "projects", "deployments", "channels", "projects/shop/environments"])
def test_no_query_fells_a_list(ask: Any, path: str, query: str) -> None:
    begun = time.monotonic()
    answer = ask("GET", f"{path}?{query}")
    assert answer.status_code < 500, answer.content[:500]
    if answer.status_code == 200:
        assert len(answer.json()["items"]) <= 200
    assert time.monotonic() - begun < SOON_SECONDS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer " + "x" * 100_000),
        ("Authorization", "Bearer \x00"),
        ("Authorization", "Bearer dfp_\u00fc"),
        ("Authorization", "Bearer"),
        ("Authorization", "bearer  x  y"),
        ("Idempotency-Key", "x" * 5000),
        ("Idempotency-Key", "\x00"),
        ("Idempotency-Key", "\u00fc\u20ac"),
        ("Last-Event-ID", "9" * 5000),
        ("Accept", "x" * 100_000),
        ("Accept-Language", "de-" * 30_000),
        ("Range", "bytes=0-," * 5000),
        ("If-Modified-Since", "9" * 10_000),
        ("User-Agent", "\x00\r\n"),
        ("User-Agent", "Mozilla/5.0 " + "(" * 50_000),
        ("X-Forwarded-For", "1.1.1.1, " * 10_000),
        ("X-Forwarded-For", "\x00, ::1%" + "x" * 1000),
        ("Cookie", "devflow_session=" + "x" * 50_000),
        ("Cookie", "devflow_session=\x00; csrftoken=\x00"),
        ("X-CSRFToken", "\x00"),
    ],
)
def test_no_header_fells_the_api(ask: Any, name: str, value: str) -> None:
    begun = time.monotonic()
    for method, path, body in (("GET", "servers", b""), ("POST", "servers/web-1/check", b"")):
        assert ask(method, path, body, **{name: value}).status_code < 500
    assert time.monotonic() - begun < SOON_SECONDS


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [*BODIES.values(), b'{"ref": "refs/heads/\\u0000"}', b'{"commits": [[[[]]], 1, null]}']
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_no_payload_fells_a_webhook(world: World, body: bytes, kind: str) -> None:
    """Signed with the right secret: a provider's own fault must not fell the panel, either."""
    assert world.secret
    source = world.project.source
    assert source is not None
    _, headers = sent("github", {}, world.secret)
    whole = body if kind == "application/json" else b"payload=" + body
    signature = hmac.new(world.secret.encode(), whole, hashlib.sha256).hexdigest()
    headers |= {"x-hub-signature-256": f"sha256={signature}", "content-type": kind}
    begun = time.monotonic()
    read = request_read(source=source, request=Request(headers, whole))
    answer = getattr(read, "answer", read)
    assert answer is None or answer.status in (400, 401, 415)
    assert time.monotonic() - begun < SOON_SECONDS


def test_a_form_of_a_million_fields_is_refused(world: World) -> None:
    webhook_set(actor=world.actor(), source=_source(world), provider="gitea")
    source = _source(world)
    request = Request({"content-type": "application/x-www-form-urlencoded"}, b"a=b&" * 1_000_000)
    begun = time.monotonic()
    assert request_read(source=source, request=request).status == 401  # type: ignore[union-attr]
    assert time.monotonic() - begun < SOON_SECONDS


def _source(world: World) -> Any:
    return project_source(actor=world.actor(), project=world.project)
