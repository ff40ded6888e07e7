"""Logging in, and being refused."""

from __future__ import annotations

import http.server
import json
import stat
import threading
from collections.abc import Iterator

import pytest

from tests.cli.conftest import ADMIN, Cli
from tests.support.panel import Panel, free_port

STORED = (".config", "devflow", "credentials.json")


def test_login_stores_a_token_that_only_its_user_can_read(stranger: Cli, panel: Panel, tokens: dict[str, str]) -> None:
    told = stranger("login", panel.url + "/", stdin=tokens["read"] + "\n").out
    path = stranger.home.joinpath(*STORED)
    assert f"Logged in as {ADMIN}, owner of Team" in told
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text()) == {
        "url": panel.url,
        "token": tokens["read"],
        "teams": {"team": tokens["read"]},
    }
    assert stranger("whoami", "--json").json["scopes"] == ["read"]


def test_login_again_replaces_the_token(stranger: Cli, panel: Panel, tokens: dict[str, str]) -> None:
    for scope in ("read", "deploy"):
        stranger("login", panel.url, stdin=tokens[scope])
    assert stranger("whoami", "--json").json["scopes"] == ["deploy"]


def test_a_wrong_token_is_not_stored(stranger: Cli, panel: Panel) -> None:
    assert "not valid" in stranger("login", panel.url, stdin="dfp_wrong\n", status=6).err
    assert not stranger.home.joinpath(*STORED).exists()


@pytest.mark.parametrize(
    "url", ["panel.example.test", "ftp://panel.example.test", "https://", "", "http://[::1", "http://a b"]
)
def test_what_is_no_address_is_refused(stranger: Cli, url: str) -> None:
    assert "https://panel.example.com" in stranger("login", url, stdin="dfp_x", status=2).err


@pytest.mark.parametrize("token", ["", " \n", "dfp_ü", "dfp_\tx"])
def test_what_is_no_token_is_wrong_usage(stranger: Cli, panel: Panel, token: str) -> None:
    assert "no API token" in stranger("login", panel.url, stdin=token, status=2).err
    other = stranger.with_environment(DEVFLOW_URL=panel.url, DEVFLOW_TOKEN=token or "ü")
    assert other("whoami", status=2).err.count("\n") == 1


def test_a_token_over_plain_http_is_warned_of(stranger: Cli) -> None:
    told = stranger("login", f"http://panel.invalid:{free_port()}", stdin="dfp_x", status=7).err
    assert "unencrypted" in told


def test_without_login_one_is_told_how(stranger: Cli, panel: Panel) -> None:
    assert "devflow login URL" in stranger("servers", "list", status=6).err
    known = stranger.with_environment(DEVFLOW_URL=panel.url)
    assert f"devflow login {panel.url}" in known("servers", "list", status=6).err


def test_a_stored_token_is_not_sent_to_another_panel(stranger: Cli, panel: Panel, tokens: dict[str, str]) -> None:
    stranger("login", panel.url, stdin=tokens["read"])
    other = stranger.with_environment(DEVFLOW_URL=f"http://127.0.0.1:{free_port()}")
    assert "Not logged in" in other("whoami", status=6).err


def test_a_broken_file_says_what_to_do(stranger: Cli) -> None:
    path = stranger.home.joinpath(*STORED)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert "devflow login URL" in stranger("whoami", status=6).err


def test_a_panel_that_is_not_there_is_status_7(cli: Cli) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    told = cli.with_environment(DEVFLOW_URL=url)("servers", "list", status=7).err
    assert told.count("\n") == 1
    assert f"{url} cannot be reached" in told


@pytest.fixture
def other_site() -> Iterator[str]:
    """A web server that is no panel."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_is_no_panel_is_told_apart(cli: Cli, other_site: str) -> None:
    assert "is this a panel's address?" in cli.with_environment(DEVFLOW_URL=other_site)("servers", "list", status=1).err


def test_scopes_are_status_6(cli: Cli, tokens: dict[str, str]) -> None:
    reader = cli.with_environment(DEVFLOW_TOKEN=tokens["read"])
    assert "scopes" in reader("servers", "add", "web9", "--host", "web9.example.test", "--generate-key", status=6).err
    assert "not valid" in cli.with_environment(DEVFLOW_TOKEN="dfp_gone")("whoami", status=6).err
