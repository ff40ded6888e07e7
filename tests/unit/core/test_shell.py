"""Quoting, as a real shell reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devflow.core import shell

WORDS = st.lists(st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=30), min_size=1, max_size=20)
NASTY = ["; rm -rf ~", "$(id)", "`id`", "it's", 'a "b"', "a\nb", "", "-n", "\\", "*", "~", "日本", "!x", "x" * 300]


@pytest.mark.parametrize("program", [name for name in ("dash", "bash") if shutil.which(name)])
@settings(max_examples=30)
@given(words=WORDS)
def test_every_word_arrives_as_it_was(program: str, words: list[str]) -> None:
    assert read_back(program, words) == words


def test_nasty_words_arrive_as_they_were() -> None:
    assert read_back("sh", NASTY) == NASTY


def test_plain_words_stay_plain() -> None:
    assert shell.quote("release-1.0/a_b") == "release-1.0/a_b"


def read_back(program: str, words: list[str]) -> list[str]:
    line = "printf '%s\\0' " + " ".join(map(shell.quote, words))
    done = subprocess.run([program, "-c", line], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]
