"""What an environment leaves on a server, with stand-ins of the programs there (the real ones: integration)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from devflow.commands import haproxy, leaving, nginx
from devflow.core.errors import InvalidError
from tests.support.machine import ENVIRONMENT_ID as ID
from tests.support.machine import Machine

LONGER = f"{ID}0"
"""The id of another environment, which begins like ours."""

# Lines of the file `docker`: <kind> <id> <labels, with commas> <name> [<volume>]
DOCKER = r"""
what() { sed -n "s/^$1 //p" "$HOME/docker"; }
printf '%s\n' "docker $*" >>"$HOME/calls"
case "$1 $2" in
  "version "*) [ ! -e "$HOME/no-docker" ] || { echo 'Cannot connect' >&2; exit 1; }; echo 26; exit ;;
  "info "*) case $* in *LocalNodeState*) echo inactive ;; *) echo false ;; esac; exit ;;
  "ps "*) kind=container ;;
  "inspect "*) for last; do :; done; what container | sed -n "s/^$last [^ ]* [^ ]* //p"; exit ;;
  "stop "*) exit ;;
  "rm "*) shift 2; for id; do sed -i "/^container $id /d" "$HOME/docker"; done; exit ;;
  "network inspect") case $* in *Name*) echo net ;; *) [ -e "$HOME/busy" ] && echo 1 || echo 0 ;; esac; exit ;;
  "network rm")
    if [ -e "$HOME/busy" ]; then echo 'has active endpoints' >&2; exit 1; fi
    sed -i "/^network $3 /d" "$HOME/docker"; exit ;;
  "network ls") kind=network ;;
  "volume ls") kind=volume ;;
  "volume inspect") grep -q "^volume $3 " "$HOME/docker"; exit ;;
  "image ls") case $* in *dangling*) kind=dangling ;; *) what image; exit ;; esac ;;
  "image rm")
    if grep -q "^used $3\$" "$HOME/docker"; then echo 'container 1 is using its referenced image' >&2; exit 1; fi
    sed -i "\\#^image [^ ]* $3\$#d; /^dangling $3 /d" "$HOME/docker"; exit ;;
  "image inspect") exit 0 ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
what "$kind" | while read -r id labels _; do
  all=yes
  for word; do
    case $word in label=*) case ",$labels," in *",${word#label=},"*) ;; *) all='' ;; esac ;; esac
  done
  [ -z "$all" ] || echo "$id"
done
"""
FILES = f"""\
container c1 devflow.environment={ID} - data-of-shop
container c2 com.docker.compose.project=devflow-{ID}-green - 0a1b
container c3 devflow.environment={LONGER} - other-data
container c4 com.docker.compose.project=devflow-{LONGER} - other-data
container c5 com.docker.swarm.service.id=1 - other-data
network n1 com.docker.compose.project=devflow-{ID} -
network n2 com.docker.compose.project=devflow-{LONGER} -
volume data-of-shop - -
volume 0a1b - -
volume noted - -
volume devflow-{ID}_data - -
volume devflow-{LONGER}_data - -
volume other-data - -
image sha256:1 devflow/{ID}:a-1
image sha256:2 devflow-{ID}-web:r1
image sha256:3 devflow-stack/{ID}-web:r1
image sha256:4 devflow/{LONGER}:a-1
image sha256:5 devflow-{LONGER}-web:r1
image sha256:6 postgres:16
dangling d1 devflow.environment={ID} -
dangling d2 devflow.environment={LONGER} -
"""


@dataclass
class Left:
    code: int
    stays: list[str]
    problems: str


@pytest.fixture
def server(machine: Machine) -> Machine:
    """With a folder of the site, files of nginx and HAProxy, and what docker knows; `calls` is what was called."""
    folder = machine.folder / "devflow.d"
    folder.mkdir()
    for name in (ID, LONGER):
        for end in (".conf", ".upstream", "-nodes.conf"):
            (folder / f"{name}{end}").write_text(f"of {name}{end}\n")
    parts = [
        f"# begin {mark}: made by DevFlow Pro, changed there only\nbackend {name}\n# end {mark}\n"
        for name in (ID, LONGER)
        for mark in [haproxy.backend_of(name)]
    ]
    (machine.folder / "haproxy").mkdir()
    (machine.folder / "haproxy/haproxy.cfg").write_text("global\n" + "".join(parts))
    for name in (ID, LONGER):
        (machine.folder / f"haproxy/haproxy.cfg.before-devflow-{name}").write_text("global\n" + "".join(parts))
    logs = machine.folder / "log"
    logs.mkdir()
    for name in (f"{ID}.access.log", f"{ID}.access.log.1", f"{LONGER}.access.log"):
        (logs / f"devflow-{name}").touch()
    (machine.root / ".devflow").mkdir()
    (machine.root / ".devflow/volumes").write_text("noted\nlong-gone\n")
    (machine.home / "docker").write_text(FILES)
    machine.tool("docker", DOCKER)
    machine.tool("id", "case $1 in -un) echo root ;; *) echo 0 ;; esac")
    machine.tool("nginx", 'if [ -e "$HOME/broken" ]; then echo "nginx: [emerg] broken" >&2; exit 1; fi')
    machine.tool(
        "haproxy", 'echo "haproxy $*" >>"$HOME/calls"; [ ! -e "$HOME/broken" ] || { echo "[ALERT] broken"; exit 1; }'
    )
    machine.tool("pgrep", "exit 1")
    return machine


def leave(server: Machine, root: Path | None = None, environment: str = ID) -> Left:
    text = leaving.head(environment) + leaving.STOP + leaving.END + leaving.FOLDER
    for there, here in {
        nginx.FOLDER: "devflow.d",
        "/etc/haproxy": "haproxy",
        "/var/log/nginx": "log",
        "/run/nginx.pid": "nowhere",
        "/run/systemd/system": "nowhere",
    }.items():
        text = text.replace(there, str(server.folder / here))
    done = subprocess.run(
        [server.shell, "-s"],
        input=f"{{\nroot='{server.root if root is None else ''}'\n{text}exit ${{failed:-0}}\n}} </dev/null\n",
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    stays = [line.removeprefix(leaving.STAYS) for line in done.stdout.splitlines() if line.startswith(leaving.STAYS)]
    return Left(done.returncode, stays, done.stderr.strip())


def sites(server: Machine) -> set[str]:
    return {path.name for path in (server.folder / "devflow.d").iterdir()}


def known(server: Machine) -> list[str]:
    return (server.home / "docker").read_text().splitlines()


OTHERS = {f"{LONGER}.conf", f"{LONGER}.upstream", f"{LONGER}-nodes.conf"}
OURS = {f"{ID}.conf", f"{ID}.upstream", f"{ID}-nodes.conf"}


def test_all_goes_but_volumes_and_what_is_of_others(server: Machine) -> None:
    (server.home / ".devflow/sites" / ID).mkdir(parents=True)
    left = leave(server)
    assert (left.code, left.problems) == (0, "")
    assert left.stays == sorted(f"volume {name}" for name in ("0a1b", "data-of-shop", f"devflow-{ID}_data", "noted"))
    assert not server.root.exists()
    assert sites(server) == OTHERS
    configs = {path.name: path.read_text() for path in (server.folder / "haproxy").iterdir()}
    assert set(configs) == {"haproxy.cfg", f"haproxy.cfg.before-devflow-{LONGER}"}
    for remaining in configs.values():
        assert f"backend {LONGER}\n" in remaining
        assert f"devflow_{ID}:" not in remaining
    assert {path.name for path in (server.folder / "log").iterdir()} == {f"devflow-{LONGER}.access.log"}
    words = [line.split() for line in known(server)]
    assert [word[1] for word in words if word[0] == "container"] == ["c3", "c4", "c5"]
    assert [word[1] for word in words if word[0] == "network"] == ["n2"]
    assert [word[1] for word in words if word[0] == "image"] == ["sha256:4", "sha256:5", "sha256:6"]
    assert [word[1] for word in words if word[0] == "dangling"] == ["d2"]
    assert len([word for word in words if word[0] == "volume"]) == 6
    assert list((server.home / ".devflow").rglob("*")) == [server.home / ".devflow/sites"]


def test_a_site_file_that_was_adopted_is_the_users_own(server: Machine) -> None:
    file = server.folder / f"devflow.d/{ID}.adopted"
    file.touch()
    assert f"file {file}, the site file that was there before the panel's" in leave(server).stays
    assert file.exists()


def test_again_does_no_harm(server: Machine) -> None:
    leave(server)
    before = known(server)
    left = leave(server)
    assert (left.code, left.problems) == (0, "")
    assert known(server) == before
    assert sites(server) == OTHERS


def test_where_none_of_the_programs_is_the_folder_goes(server: Machine) -> None:
    server.tool("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")  # of others: never used here
    (server.root / ".devflow/volumes").unlink()
    for folder in ("devflow.d", "haproxy", "log"):
        shutil.rmtree(server.folder / folder)
    left = leave(server)
    assert (left.code, left.problems, left.stays) == (0, "", [])
    assert not server.root.exists()


@pytest.mark.parametrize("owner", [ID, LONGER])
def test_the_folder_goes_unless_another_environment_owns_it(server: Machine, owner: str) -> None:
    (server.root / ".devflow/owner").write_text(f"{owner}\n")
    left = leave(server)
    assert (left.code, left.problems) == (0, "")
    assert server.root.exists() is (owner != ID)
    assert (f"folder {server.root}, which is another environment's" in left.stays) is (owner != ID)


def test_what_nginx_cannot_do_without_is_put_back_and_nothing_else_touched(server: Machine) -> None:
    (server.home / "broken").touch()
    (server.folder / "haproxy/haproxy.cfg").unlink()
    before = known(server)
    left = leave(server)
    assert left.code == 1
    assert "were put back: nginx: [emerg] broken" in left.problems
    assert sites(server) == OURS | OTHERS
    assert (server.folder / f"devflow.d/{ID}-nodes.conf").read_text() == f"of {ID}-nodes.conf\n"
    assert known(server) == before
    assert server.root.exists()
    (server.home / "broken").unlink()
    assert leave(server).code == 0
    assert sites(server) == OTHERS


def test_after_a_break_between_nginxs_files_and_its_test(server: Machine) -> None:
    """What was taken away can still be put back."""
    kept = server.home / ".devflow" / f"leaving-{ID}"
    kept.mkdir(parents=True)
    (server.folder / f"devflow.d/{ID}.conf").rename(kept / f"{ID}.conf")
    (server.home / "broken").touch()
    assert leave(server).code == 1
    assert sites(server) == OURS | OTHERS


def test_haproxy_refuses(server: Machine) -> None:
    for path in (server.folder / "devflow.d").glob(f"{ID}*"):
        path.unlink()
    (server.home / "broken").touch()
    before = (server.folder / "haproxy/haproxy.cfg").read_text()
    left = leave(server)
    assert left.code == 1
    assert "HAProxy would not take its configuration" in left.problems
    assert (server.folder / "haproxy/haproxy.cfg").read_text() == before
    assert not (server.folder / "haproxy/haproxy.cfg.devflow").exists()


def test_a_part_of_haproxy_without_its_end_is_not_guessed(server: Machine) -> None:
    path = server.folder / "haproxy/haproxy.cfg"
    path.write_text(path.read_text().replace(f"# end devflow_{ID}\n", ""))
    before = path.read_text()
    left = leave(server)
    assert left.code == 1
    assert "remove that part by hand" in left.problems
    assert path.read_text() == before


def test_docker_that_does_not_answer_who_had_containers(server: Machine) -> None:
    (server.home / "no-docker").touch()
    left = leave(server)
    assert left.code == 1
    assert "Docker does not answer root: Cannot connect" in left.problems
    assert server.root.exists(), "no files go from under what may still run"
    (server.home / "no-docker").unlink()
    assert leave(server).code == 0
    assert not server.root.exists()


def test_what_others_use_stays_and_is_named(server: Machine) -> None:
    (server.home / "busy").touch()
    with (server.home / "docker").open("a") as file:
        file.write(f"used devflow/{ID}:a-1\n")
    left = leave(server)
    assert (left.code, left.problems) == (0, "")
    assert "network net, which other containers use" in left.stays
    assert f"image devflow/{ID}:a-1, which other containers use" in left.stays


def test_a_balancers_own_site_in_the_same_folder_is_not_touched(server: Machine) -> None:
    own = server.home / ".devflow/sites" / ID / ".devflow"
    own.mkdir(parents=True)
    left = leave(server, Path())
    assert left.code == 0
    assert server.root.exists()
    assert "volume noted" not in left.stays
    assert not own.exists()


@pytest.mark.parametrize("environment", ["", "e0*", "../e0e0e0e0", "E0E0E0E0", "e0e0e0e0 x"])
def test_no_other_word_is_taken_for_an_id(environment: str) -> None:
    with pytest.raises(InvalidError):
        leaving.head(environment)
