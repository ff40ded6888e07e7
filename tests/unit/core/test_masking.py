"""Secrets in output: whatever form they come in, they are not shown."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.core.masking import Masker

SECRET = "s3cr?t/p4ss w+rd"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote(SECRET),
        urllib.parse.quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_is_hidden(form: str) -> None:
    masked = Masker([SECRET]).mask(f"url=https://x/{form}&y")
    assert masked.replace("=&", "&").replace("=&", "&") == "url=https://x/***&y"


def test_a_form_that_programs_print_it_in() -> None:
    secret = 'pa"ss\\word'
    assert Masker([secret]).mask(json.dumps({"password": secret})) == '{"password": "***"}'


@pytest.mark.parametrize("quoted", ["it'\\''s secret", "it'\"'\"'s secret"])
def test_as_a_shell_traces_it(quoted: str) -> None:
    assert Masker(["it's secret"]).mask(f"+ export KEY='{quoted}'") == "+ export KEY='***'"


def test_each_line_of_a_key_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nAAAA1111\n  BBBB2222\n-----END KEY-----\n"
    masked = [Masker([key]).mask(line) for line in key.splitlines()]
    assert masked == ["***", "***", "  ***", "***"]


def test_a_key_with_lines_escaped_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nAAAA1111\n"
    assert "AAAA1111" not in Masker([key]).mask(json.dumps(key))


def test_the_longest_goes_first() -> None:
    assert Masker(["hunter22", "hunter22-and-more"]).mask("hunter22-and-more hunter22") == "*** ***"


@pytest.mark.parametrize("short", ["", "1", "on", "abc"])
def test_short_values_would_black_out_every_log(short: str) -> None:
    assert Masker([short]).mask(f"turned {short} at 1") == f"turned {short} at 1"


def test_special_characters_are_no_patterns() -> None:
    assert Masker(["a.*b("]).mask("axxb( a.*b(") == "axxb( ***"


def test_without_secrets_nothing_is_changed() -> None:
    assert Masker([]).mask("as it is") == "as it is"


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=4, max_size=30),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_secret_on_one_line_never_comes_through(secret: str, before: str, after: str) -> None:
    line = secret.splitlines()[0] if secret.splitlines() else ""
    masked = Masker([secret]).mask(before + secret + after)
    if len(secret.splitlines()) == 1 and len(line.strip()) >= 4:
        assert line.strip() not in masked.replace("***", "\0")
