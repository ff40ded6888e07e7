"""What an API token looks like."""

from __future__ import annotations

import re
import zlib

import pytest

from devflow.apps.accounts.tokens import may_be_token, token_make

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_token_has_a_prefix_and_a_checksum() -> None:
    """As scanners of secrets know it: the CRC32 of all before it, in base 62."""
    raw = token_make()
    assert re.fullmatch(r"dfp_[0-9A-Za-z]{49}", raw)
    number = 0
    for digit in raw[-6:]:
        number = number * 62 + DIGITS.index(digit)
    assert number == zlib.crc32(raw[:-6].encode())
    assert may_be_token(raw)


def test_no_two_tokens_are_alike() -> None:
    assert len({token_make() for _ in range(1000)}) == 1000


def test_any_wrong_character_is_noticed() -> None:
    raw = token_make()
    for place in range(4, len(raw)):
        other = "a" if raw[place] != "a" else "b"
        assert not may_be_token(raw[:place] + other + raw[place + 1 :]), place


def test_tokens_from_before_the_checksum_are_looked_for() -> None:
    assert may_be_token("dfp_" + "aB3-_" * 8 + "xyz")


@pytest.mark.parametrize(
    "raw",
    ["", "dfp_", "dfp_short", "ghp_" + "a" * 36, "dfp_" + "a" * 44, "dfp_" + "a" * 49, "dfp_" + "a" * 50],
)
def test_what_is_no_token_is_not_looked_for(raw: str) -> None:
    assert not may_be_token(raw)


def test_space_around_a_token_is_no_part_of_it() -> None:
    assert not may_be_token(f"{token_make()}\n")
