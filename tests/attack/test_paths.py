"""Paths that lead elsewhere: what a user may give, and what the script on the server takes."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from devflow.apps.accounts.services import token_create
from tests.web.world import World

WAYS_OUT = [
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "//etc",
    "a//b",
    "a/./b",
    ".",
    "./..",
    "a\x00b",
    "a\nb",
    "a\r/../b",
    ".git/hooks/post-checkout",
    "a/.git/config",
    "a\u2028b",
    "x" * 400,
    "..\\..\\x/..",
]
SETTINGS = ["shared_files", "shared_folders"]
PRODUCTION = "projects/shop/environments/production"


@pytest.fixture
def ask(world: World) -> Any:
    _, raw = token_create(actor=world.actor(), name="attack", scopes=["admin"])
    client = Client(raise_request_exception=False)

    def send(method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {raw}"}
        return client.generic(
            method, f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
        )

    return send


@pytest.mark.parametrize("path", WAYS_OUT)
@pytest.mark.parametrize("field", SETTINGS)
def test_no_shared_path_leads_out_of_the_site(ask: Any, field: str, path: str) -> None:
    answer = ask("PATCH", PRODUCTION, {field: [path]})
    assert answer.status_code == 422, answer.content
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    "root",
    [
        *("/", "/etc", "/etc/x", "/srv", "/home", "/home/deploy", "/var/www", "/srv/../etc/x", "/srv/x/..", "srv/x"),
        *(
            "/srv/x\x00",
            "/srv/.ssh",
            "/srv/x/.hidden",
            "/srv//x",
            "/proc/self/root",
            "/usr/local/bin",
            "~/x",
            "$HOME/x",
        ),
        *("/srv/x\n/y", "/run/x/y", "/dev/shm/x", "/srv/./x", "", "/srv/" + "x" * 600),
    ],
)
def test_no_site_is_put_where_the_systems_own_things_are(ask: Any, root: str) -> None:
    assert ask("PATCH", PRODUCTION, {"root": root}).status_code == 422
    body = {"name": "next", "branch": "main", "servers": ["web-1"], "root": root}
    made = ask("POST", "projects/shop/environments", body)
    assert made.status_code == (201 if root == "" else 422), made.content  # none given: the usual one


@pytest.mark.parametrize("root", ["/srv/shop-production", "/srv/shop-production/releases", "/srv/shop-production/x/y"])
def test_no_site_is_put_into_another(ask: Any, root: str) -> None:
    body = {"name": "next", "branch": "main", "servers": ["web-1"], "root": root}
    assert ask("POST", "projects/shop/environments", body).status_code == 422


@pytest.mark.parametrize(
    "key", ["../x", "a/b", "..", ".", "A\x00", "A\nB", "-rf", "LD_PRELOAD", "PATH", "BASH_ENV", "IFS"]
)
def test_no_variable_of_the_kind_file_leads_elsewhere(ask: Any, key: str) -> None:
    """A variable that is a file is a file of this name on the server."""
    answer = ask("POST", f"{PRODUCTION}/variables", {"values": {key: "text"}, "kind": "file"})
    assert answer.status_code == 422, answer.content


# --- the script on the server -----------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with two releases, and a folder outside of it."""
    root = tmp_path / "site"
    for name in ("20260101-000000-aaaaaa", "20260102-000000-bbbbbb"):
        (root / "releases" / name).mkdir(parents=True)
    (root / "shared").mkdir()
    (root / ".devflow").mkdir()
    (root / "current").symlink_to("releases/20260102-000000-bbbbbb")
    (tmp_path / "outside").mkdir()
    (root / ".devflow/reload").write_text('touch "$PWD/reloaded"\n')
    return root


def devflow_run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = files("devflow.remote").joinpath("devflow-run.sh").read_text("utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = ["sh", "-s", "--", *words]
    return subprocess.run(command, input=script, env=environment, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("release", ["../../outside", "..", ".", "../releases/20260101-000000-aaaaaa", "/tmp", "a/b"])
def test_no_release_outside_of_the_site_is_gone_back_to(site: Path, release: str) -> None:
    done = devflow_run(site.parent, "rollback", str(site), release)
    assert done.returncode == 2, done.stderr
    assert (site / "current").readlink() == Path("releases/20260102-000000-bbbbbb")
    assert not list(site.parent.rglob("reloaded"))


def test_a_release_of_the_site_is_gone_back_to(site: Path) -> None:
    done = devflow_run(site.parent, "rollback", str(site), "20260101-000000-aaaaaa")
    assert done.returncode == 0, done.stderr
    assert (site / "current").readlink() == Path("releases/20260101-000000-aaaaaa")


@pytest.mark.parametrize("run", ["../x", "..", ".", "a/b", "", "a b", "$(id)", "a\nb", "-x/../y", "*"])
@pytest.mark.parametrize("verb", ["status", "log", "kill", "start"])
def test_no_run_has_a_name_that_leads_elsewhere(tmp_path: Path, verb: str, run: str) -> None:
    (tmp_path / ".devflow/runs").mkdir(parents=True)
    (tmp_path / ".devflow/x").mkdir()
    (tmp_path / ".devflow/x/log").write_text("a secret")
    before = sorted(map(str, tmp_path.rglob("*")))
    done = devflow_run(tmp_path, verb, run)
    assert done.returncode == 97, done.stderr
    assert "a secret" not in done.stdout
    assert sorted(map(str, tmp_path.rglob("*"))) == before
