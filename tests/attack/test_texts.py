"""Texts that nobody would type: each parser gives a value or says what is wrong, soon; and no secret comes through."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from devflow.api.paging import Paging, cursor
from devflow.apps.sources.api.base import host_of, repository_of
from devflow.apps.sources.providers import PROVIDERS, guess
from devflow.apps.sources.providers.base import Kind, MalformedError
from devflow.core import dotenv, globs, names, windows
from devflow.core.errors import InvalidError
from devflow.core.masking import Masker
from devflow.engine.output import Frame, JournalReader, Line
from devflow.engine.script import FRAME
from devflow.settings import log
from tests.attack.conftest import LONG
from tests.support import payloads

settings.register_profile(
    "attack",
    max_examples=3000 if LONG else 120,
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
attacked = settings(settings.get_profile("attack"))
SPECIAL = (
    "\x00\x01\t\n\r\x0b\x0c\x1b\x1c\x1e\x1f !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\x7f\x85\xa0\u2028\u202e\ufeff\ud800"
)
TEXT = st.one_of(
    st.text(max_size=60),
    st.text(SPECIAL + "aA09", max_size=60),
    st.lists(
        st.sampled_from([*"/.:@-%?#&=*!~ \n\t$'\"`\\", "..", "http", "ssh", "file", "ext", "::", "git", "localhost"]),
        max_size=12,
    ).map("".join),
)


# --- secrets in output ------------------------------------------------------------------------------------------------


@attacked
@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=8, max_size=60),
    around=st.lists(st.text(" abc=:\n\r\x1b[0m", max_size=12), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    form=st.sampled_from(["plain", "json", "base64", "shell", "hex"]),
)
@example("correct horse\rbattery staple", ["", "\n"], [3], "plain")
@example(f"correct horse{FRAME}battery staple", ["", "\n"], [3], "plain")
@example("hunter2-hunter2\n", ["", "\n"], [3], "plain")
@example("line one of it\nline two of it\n", ["x=", "\n"], [1], "json")
def test_no_secret_survives_however_its_output_arrives(
    secret: str, around: list[str], sizes: list[int], form: str
) -> None:
    """Written by a program in pieces of any size, also in codes, and read again by what stores it."""
    written = secret.encode()
    if form == "json":
        written = json.dumps({"key": secret}).encode()
    elif form == "base64":
        written = base64.b64encode(written)
    elif form == "hex":
        written = written.hex().encode()
    elif form == "shell":
        written = b"KEY='" + written.replace(b"'", b"'\\''") + b"'"
    output = written.join(text.encode() for text in around)
    reader, masker, shown = JournalReader("0" * 16), Masker([secret]), []
    place = 0
    while place < len(output):
        size = sizes[place % len(sizes)]
        shown += reader.feed(output[place : place + size])
        place += size
    lines = [each.text if isinstance(each, Line) else each.rest for each in [*shown, *reader.finish()]]
    masked = "\n".join(masker.mask(line) for line in lines)
    quiet = "\n".join(around)
    for part in _parts(secret):
        if part not in quiet and part not in "".join(around) and part not in "***":
            assert part not in masked.replace("***", "\x00"), (part, masked)


def _parts(secret: str) -> list[str]:
    """What would tell the secret: its lines, as a terminal knows lines, where they are not too short to hide."""
    return [part.strip() for part in secret.replace(FRAME, "\n").splitlines() if len(part.strip()) >= 8]


# --- names ------------------------------------------------------------------------------------------------------------


CHECKS: list[Callable[[str], str]] = [
    names.slug,
    names.variable,
    names.branch,
    names.commit,
    names.host,
    names.user,
    names.root,
    names.relative_path,
    names.repository,
    names.health_address,
    lambda text: names.single_line(text, "x"),
    lambda text: globs.checked(text, "x"),
    windows.check_time_zone,
]


@attacked
@given(text=TEXT, check=st.sampled_from(CHECKS))
def test_what_a_name_may_be_is_one_line_that_can_be_stored(text: str, check: Callable[[str], str]) -> None:
    try:
        accepted = check(text)
    except InvalidError as error:
        accepted = str(error)  # the refusal, too, can be shown and stored
    accepted.encode()
    assert not set(accepted) & set("\x00\n\r")


@attacked
@given(text=TEXT)
def test_the_host_of_a_repository_is_never_mistaken(text: str) -> None:
    """What decides where an access token is sent is the host that git itself would ask."""
    try:
        address = names.repository(text)
    except InvalidError:
        assume(False)
    host = host_of(address)
    guess(address)
    repository_of(address)
    if host:
        assert host in address.lower()
        assert not set(host) & set("@/\\?# ")


GIT_ATTACKS = [
    "ext::sh -c touch% MARK",
    "--upload-pack=touch MARK",
    "-oProxyCommand=touch MARK",
    "ssh://-oProxyCommand=touch MARK/x",
    "ssh://-oProxyCommand=touch%20MARK/x",
    "git@-oProxyCommand=touch:x",
    "git@-x:path",
    "x@host:-oProxyCommand",
    "x@host:--upload-pack=touch",
    "ssh://x@host/--upload-pack=touch",
    "fd::17",
    "file:///../../etc",
    "file://-x/y",
    "git://host/x",
    "ftp://host/x",
    "https://host/x\n[core]",
    "ssh://host:-1/x",
    "ssh://ho st/x",
    "/srv/git/$(touch MARK)",
    "/srv/git/`touch MARK`",
    "/srv/git/';touch MARK;'",
    "https://$(touch MARK)/x",
    "https://host/$(touch MARK)",
    "https://host/x;touch MARK",
    "C:\\x",
    "\\\\host\\x",
]


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
@pytest.mark.parametrize("address", GIT_ATTACKS)
def test_no_address_of_a_repository_makes_git_run_a_program(address: str, tmp_path: Path) -> None:
    """What is accepted is given to git as deployments do it, with an ssh that tells what it is called with."""
    mark, called = tmp_path / "mark", tmp_path / "called"
    address = address.replace("MARK", str(mark))
    try:
        accepted = names.repository(address)
    except InvalidError:
        return
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{called}"\nexit 1\n')
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"}
    environment |= {"GIT_SSH_COMMAND": str(ssh), "GIT_ALLOW_PROTOCOL": "file:ssh:https"}
    mirror = tmp_path / "mirror.git"
    subprocess.run(["git", "init", "-q", "--bare", str(mirror)], check=True, env=environment)
    script = 'git --git-dir="$mirror" fetch -q --no-tags --force "$repository" "+refs/heads/x:refs/devflow/x"'
    values = {"mirror": str(mirror), "repository": accepted, "http_proxy": "http://127.0.0.1:1"}
    values |= {"https_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(["sh", "-c", script], env=environment | values, capture_output=True, timeout=30)
    assert done.returncode != 0
    assert not mark.exists()
    if called.exists():
        words = called.read_text().splitlines()
        host = next(word for number, word in enumerate(words) if not word.startswith("-") and words[number - 1] != "-o")
        assert not host.startswith("-")


# --- parsers ----------------------------------------------------------------------------------------------------------


@attacked
@given(text=st.one_of(TEXT, TEXT.map(lambda text: base64.urlsafe_b64encode(text.encode(errors="replace")).decode())))
def test_any_cursor_is_read_or_refused(text: str) -> None:
    try:
        Paging.model_construct(limit=50, cursor=text).after.encode()
    except InvalidError:
        return


@attacked
@given(key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80))  # no key holds that
def test_a_cursor_of_ours_is_read_back(key: str) -> None:
    assert Paging.model_construct(limit=50, cursor=cursor(key)).after == key


WINDOWS = st.one_of(
    TEXT,
    st.lists(st.sampled_from([*windows.DAYS, "every day", "-", ",", " ", "08:00", "24:00", "00:00", "25:61"])).map(
        "".join
    ),
)


@attacked
@given(text=WINDOWS)
def test_any_window_is_read_or_refused(text: str) -> None:
    try:
        window = windows.parse_window(text)
    except InvalidError:
        return
    assert windows.check_windows([window]) == [window]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@attacked
@given(value=JSON, check=st.sampled_from([windows.check_windows, windows.check_freezes]))
def test_any_list_of_windows_and_freezes_is_taken_or_refused(value: Any, check: Callable[[Any], Any]) -> None:
    for given_value in (value, [value], [{"days": value, "from": value, "to": value, "reason": value}]):
        try:
            check(given_value)
        except InvalidError:
            continue


MADE = {"github": payloads.github_push, "gitlab": payloads.gitlab_push, "gitea": payloads.gitea_push}
EVENTS = ["push", "Push Hook", "Tag Push Hook", "repo:push", "create", "delete", "ping", "pull_request", "", "x\x00"]


@attacked
@given(data=st.data())
def test_any_payload_is_read_or_refused(data: st.DataObject) -> None:
    """Payloads of a provider with parts of them exchanged for anything: never a failure, and all that is read can be
    stored."""
    name = data.draw(st.sampled_from(sorted(PROVIDERS)))
    provider = PROVIDERS[name]
    document = json.loads(json.dumps(MADE.get(name, payloads.github_push)("c0ffee" + "0" * 34)))
    for _ in range(data.draw(st.integers(1, 4))):
        _spoil(document, data)
    try:
        provider.is_dated(document)
        event = provider.event({"x-event-key": data.draw(st.sampled_from(EVENTS))}, document)
        pushes = provider.read(data.draw(st.sampled_from([event, *EVENTS])), document)
    except MalformedError as error:
        str(error).encode()
        return
    for push in pushes:
        for told in (push.name, push.commit, push.message, push.author):
            assert "\x00" not in told
            told.encode()
        if push.kind in (Kind.PUSH, Kind.TAG):
            names.commit(push.commit)


def _spoil(document: Any, data: st.DataObject) -> None:
    """Puts something else somewhere into it."""
    while isinstance(document, dict | list) and document:
        keys = sorted(document) if isinstance(document, dict) else list(range(len(document)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(document[key], dict | list) or not document[key] or data.draw(st.booleans()):
            document[key] = data.draw(JSON)
            return
        document = document[key]


@attacked
@given(text=st.text(f"{FRAME}0123456789abcdef begin end note explain ended\n\r\x00\x1b[]mK", max_size=200))
def test_output_that_plays_the_panel_is_output(text: str) -> None:
    """A program that prints what looks like frames steers nothing: it does not know the run's nonce."""
    reader = JournalReader("5ca1ab1e" * 4)
    items = [*reader.feed(text.encode()), *reader.finish()]
    assert not [each for each in items if isinstance(each, Frame)]
    assert reader.ended is None


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 99 + "b",
        "**/" * 66 + "b",
        "*" * 199,
        "[" * 200,
        "[a-" * 60,
        "?*" * 99,
        "(a+)+$",
        "*/**/" * 30 + "x",
        "[!" + "a" * 190 + "]*",
    ],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    try:
        clean = globs.checked(pattern, "watch_paths")
    except InvalidError:
        return
    paths = ["a" * 4000, "/".join("a" * 500), "a/" * 2000 + "c"]
    begun = time.monotonic()
    for path in paths:
        globs.matches(clean, path)
    assert time.monotonic() - begun < 2  # milliseconds where nothing else runs


def _short(value: object) -> str:
    """The same in every process that collects: pytest-xdist compares."""
    return value[:12] if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (dotenv.read, "A='" * 20_000),
        (dotenv.read, 'A="\\' * 20_000),
        (dotenv.required, "A= # " * 20_000),
        (dotenv.read, "${A:-" * 20_000),
        (names.branch, "a/" * 100_000),
        (names.repository, "a@" * 100_000),
        (names.repository, "https://" + "a." * 100_000),
        (names.host, "a-" * 100_000 + "!"),
        (names.root, "/a" * 100_000),
        (names.health_address, "http://" + "[" * 100_000),
        (windows.parse_window, "mon-" * 50_000 + " 08:00-09:00"),
        (windows.parse_window, "mon," * 50_000 + "mon 08:00-09:00"),
        (log.mask, "x://a:" * 50_000),
        (log.mask, "x://" + "a" * 300_000),
        (log.mask, "token" + " " * 300_000),
        (log.mask, "token=" * 50_000 + "'" * 50_000),
        (Masker(["x" * 30, "a" * 1000]).mask, "a" * 300_000),
        (Masker(["ab" * 2000]).mask, "ab" * 1999 + "a" * 100_000),
    ],
    ids=_short,
)
def test_no_text_takes_long(read: Callable[[str], Any], text: str) -> None:
    begun, told = time.monotonic(), ""
    try:
        read(text)
    except InvalidError as error:
        told = str(error)
    assert time.monotonic() - begun < 5  # much less where nothing else runs
    assert len(told) < 2_000  # what is refused is not told in full


def test_hosts_that_only_look_like_names_are_addresses_in_the_end() -> None:
    """Why addresses are checked after they were looked up, and not as they are written."""
    for written in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1"):
        assert socket.getaddrinfo(written, 80)[0][4][0] == "127.0.0.1"
