"""Secrets in output: whatever form they come in, they are not shown."""

from __future__ import annotations

import base64
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import assume, given
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


@pytest.mark.parametrize("end", ["\r", "\r\n", "\x1e", "\x0c", "\u2028"])
def test_what_follows_an_end_of_a_line_of_any_kind_is_hidden(end: str) -> None:
    """Of "a\\rb" a log shows what follows, as a terminal does."""
    masker = Masker([f"correct horse{end}battery staple{end}"])
    assert masker.mask("battery staple") == "***"
    assert masker.mask(f"correct horse{end}battery staple").replace(end, "") in ("***", "******")


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


# --- codes ------------------------------------------------------------------------------------------------------------


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=6, max_size=40),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
    encode=st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
def test_base64_of_a_longer_text_does_not_tell_the_secret_in_it(
    secret: str, before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    assume(len(secret.splitlines()) == 1)
    raw = secret.encode()
    code = encode(before + raw + after).decode()
    masked = Masker([secret]).mask(f"Authorization: Basic {code}")
    assert "***" in masked
    hidden = len(code) - len(masked.removeprefix("Authorization: Basic ").replace("***", ""))
    assert hidden >= len(raw) * 8 // 6 - 2  # all but what shares a character with its neighbours


@pytest.mark.parametrize(
    "form",
    [
        "c%c3%bc%2ft%20x%22%26",
        "c%C3%BC%2Ft%20x%22%26",
        "c%c3%bc/t%20x%22%26",
        "c%C3%BC%2Ft+x%22%26",
        "cü/t x&quot;&amp;",
        "63c3bc2f7420782226",
        "63C3BC2F7420782226",
        'c\\u00fc/t x\\"&',
        'c\\u00fc\\/t x\\"&',
    ],
)
def test_other_codes(form: str) -> None:
    assert Masker(['cü/t x"&']).mask(f"url={form};") == "url=***;"


@pytest.mark.parametrize("quoted", ["it&#x27;s here", "it&#39;s here", "it&#039;s here"])
def test_as_pages_of_django_php_and_others_write_it(quoted: str) -> None:
    assert Masker(["it's here"]).mask(f"<p>{quoted}</p>") == "<p>***</p>"


def test_base64_in_an_address() -> None:
    code = urllib.parse.quote(base64.b64encode(b"secret?>>?secret").decode(), safe="")
    assert "%2B" in code or "%2F" in code
    assert Masker(["secret?>>?secret"]).mask(f"?t={code}").startswith("?t=***")


@pytest.mark.parametrize("width", [64, 76])
def test_a_key_in_base64_on_several_lines(width: int) -> None:
    key = "-----BEGIN KEY-----\n" + "\n".join(secrets.token_urlsafe(48) for _ in range(20)) + "\n"
    code = base64.b64encode(key.encode()).decode()
    lines = [code[start : start + width] for start in range(0, len(code), width)]
    masked = [Masker([key]).mask(line).rstrip("=") for line in lines]
    assert masked == ["***"] * len(lines)


# --- many, long, and hostile ------------------------------------------------------------------------------------------


def test_each_of_many_is_hidden() -> None:
    values = [secrets.token_hex(8) for _ in range(300)]
    masked = Masker(values).mask(" ".join(values))
    assert masked == " ".join(["***"] * 300)


def test_a_long_log_with_many_secrets_is_masked_in_reasonable_time() -> None:
    masker = Masker([secrets.token_urlsafe(24) for _ in range(50)])
    line = f"Installing vendor/package (v1.2.3): Extracting archive {secrets.token_hex(20)}"
    begun = time.monotonic()
    for _ in range(20_000):
        assert masker.mask(line) == line
    assert time.monotonic() - begun < 10  # 0.2 s where nothing else runs


def test_a_bundle_of_certificates_is_hidden_line_by_line() -> None:
    lines = [secrets.token_urlsafe(48) for _ in range(1_500)]
    masker = Masker(["\n".join(lines)])
    assert {masker.mask(line) for line in lines} == {"***"}


@pytest.mark.parametrize("count", [150, 400])
def test_secrets_of_which_each_begins_the_next(count: int) -> None:
    masker = Masker(["x" * length for length in range(4, count)])
    assert masker.mask(f"a{'x' * (count - 1)}b") == "a***b"
    assert masker.mask("xxxx") == "***"


def test_many_private_keys_make_a_pattern_that_is_compiled_soon() -> None:
    lines = [[base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(26)] for _ in range(20)]
    keys = ["\n".join(["-----BEGIN PRIVATE KEY-----", *each, "-----END PRIVATE KEY-----"]) for each in lines]
    masker = Masker(keys)
    assert masker._pattern is not None
    assert len(masker._pattern.pattern) < 500_000
    assert masker.mask(keys[7]) == "***"
    assert masker.mask(f"x {lines[7][3]} y") == "x *** y"


def test_a_form_that_is_there_in_part_hides_no_shorter_one() -> None:
    masker = Masker(["abcd", "abcdefghijklmnopqrstuvwxyz", "pqrs-tuvw"])
    assert masker.mask("abcdefghijklmnopqrs-tuvwx") == "***efghijklmno***x"
    assert masker.mask("xabcdefghijklmnopqrstuvwxyzabcd") == "x******"
