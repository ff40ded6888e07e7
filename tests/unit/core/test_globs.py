"""Patterns of paths and tags."""

from __future__ import annotations

import time

import pytest

from devflow.core import globs
from devflow.core.errors import InvalidError


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("apps/shop/**", "apps/shop/src/cart.php"),
        ("apps/shop/**", "apps/shop/composer.json"),
        ("apps/shop", "apps/shop/src/cart.php"),
        ("apps/*/composer.json", "apps/shop/composer.json"),
        ("src/*", "src/deep/inside.py"),
        ("**/*.md", "README.md"),
        ("**/*.md", "docs/guide/servers.md"),
        ("**/tests/**", "apps/shop/tests/cart.php"),
        ("*", "anything/at/all"),
        ("**", "anything/at/all"),
        ("v*", "v1.2.3"),
        ("release/*", "release/2026-11"),
        ("v[0-9].?", "v1.2"),
        ("größe/*", "größe/日本.txt"),
        ("a**b", "a-long-b"),
        ("[x", "[x"),
    ],
)
def test_matches(pattern: str, path: str) -> None:
    assert globs.matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("apps/shop/**", "apps/shopping/src/cart.php"),
        ("apps/shop", "apps/shopkeeper"),
        ("apps/shop", "apps"),
        ("apps/*/composer.json", "apps/shop/deep/composer.json"),
        ("*.md", "docs/README.md"),
        ("v*", "release/v1"),
        ("V*", "v1"),
        ("v[!0-9]", "v1"),
        ("", "anything"),
    ],
)
def test_does_not_match(pattern: str, path: str) -> None:
    assert not globs.matches(pattern, path)


def test_one_of_several_is_enough() -> None:
    assert globs.any_matches(["api/**", "web/**"], ["docs/a.md", "web/b.js"])
    assert not globs.any_matches(["api/**", "web/**"], ["docs/a.md"])
    assert not globs.any_matches([], ["docs/a.md"])


def test_no_pattern_takes_long() -> None:
    nasty = ["*a" * 90 + "b", "**/" * 60 + "b", "a*" * 90 + "b"]
    began = time.process_time()
    for pattern in nasty:
        assert not globs.matches(pattern, "/".join(["a" * 200] * 200) + "/c")
    assert time.process_time() - began < 5


@pytest.mark.parametrize("pattern", ["", "  ", "/", "a" * 201, "a\nb", "a\x00b", "\ud800"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError) as refused:
        globs.checked(pattern, "watch_paths")
    assert list(refused.value.errors) == ["watch_paths"]


@pytest.mark.parametrize("pattern", ["../x", "a/../b", "a/./b", "a//b", "..", "[", "apps/[abc", "v[", "[]"])
def test_what_can_never_match_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="never match") as refused:
        globs.checked(pattern, "watch_paths")
    assert list(refused.value.errors) == ["watch_paths"]


@pytest.mark.parametrize("pattern", ["[abc]/x", "[[]x", "v[0-9]*", "[!a]b", "a..b", "...", ".github/**"])
def test_what_looks_like_it_and_matches_something_is_taken(pattern: str) -> None:
    assert globs.checked(pattern, "watch_paths") == pattern


def test_slashes_around_a_pattern_are_dropped() -> None:
    assert globs.checked("/apps/shop/", "watch_paths") == "apps/shop"
    assert globs.checked("./apps/*", "watch_paths") == "apps/*"
