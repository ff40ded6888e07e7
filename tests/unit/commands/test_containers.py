"""Containers of a colour: what they are made with, and when one counts as running."""

from __future__ import annotations

from itertools import pairwise

import pytest

from devflow.commands import containers, images
from devflow.engine.script import RunSecrets
from devflow.recipes.dockerfile import OPTIONS
from tests.support.machine import Machine, Ran

ID = "sha256:" + "a" * 64
DEFAULTS = {option.name: option.default for option in OPTIONS}
NAME = "devflow-e0e0e0e0-green"
DOCKER = """\
printf '%s\\n' "$@" >>"$DOCKER_CALLS"
echo --- >>"$DOCKER_CALLS"
case "$1 $2" in
  "container inspect")
    for name; do :; done
    if [ -d "$DOCKER_THERE/$name" ]; then
      case $* in *devflow.release*) cat "$DOCKER_THERE/$name/release" ;; *Port*) echo "${DOCKER_PORT:-20011}" ;; esac
      exit 0
    fi
    [ -e "$DOCKER_STATE" ] || exit 1; case $* in *RestartCount*) cat "$DOCKER_STATE" ;; esac ;;
  "rename "*) mv "$DOCKER_THERE/$2" "$DOCKER_THERE/$3" ;;
  "rm "*) for name; do :; done; rm -rf "$DOCKER_THERE/$name" ;;
  "ps "*) ls "$DOCKER_THERE" ;;
  "image inspect")
    case $* in *Config.Volumes*) cat "$DOCKER_DECLARED" ;; *Exposed*) cat "$DOCKER_PORTS" ;; *) echo there ;; esac ;;
  "volume inspect") [ -e "$DOCKER_VOLUMES/$3" ] || exit 1 ;;
  "volume create") for name; do :; done; : >"$DOCKER_VOLUMES/$name" ;;
  "start "*) if [ -e "$DOCKER_START" ]; then cat "$DOCKER_START" >&2; exit 1; fi ;;
  "logs "*) [ -e "$DOCKER_SILENT" ] || echo "the last words" ;;
esac
"""
COLOUR = 'colour=green port=20011\npath=$root/releases/r2\nmkdir -p "$path" "$root/.devflow"\n'


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """The machine with a stand-in of docker, and a release that has an image."""
    names = ("calls", "state", "ports", "start", "volumes", "there", "declared", "silent")
    machine.tool("docker", "".join(f"DOCKER_{name.upper()}={machine.folder}/{name}\n" for name in names) + DOCKER)
    (machine.folder / "volumes").mkdir()
    (machine.folder / "there").mkdir()
    (machine.folder / "declared").write_text("\n")
    (machine.folder / "ports").write_text("8000/tcp\n")
    folder = machine.root / "releases" / "r2"
    folder.mkdir(parents=True)
    (folder / images.IMAGE_FILE).write_text(f"{ID} devflow/e0e0e0e0:1\n")
    return machine


def start(machine: Machine, **options: str) -> Ran:
    return machine.run(COLOUR + containers.START, options=DEFAULTS | options)


def created(machine: Machine) -> list[str]:
    """The arguments of `docker create`."""
    asked = (machine.folder / "calls").read_text().split("---\n")
    return next(words.splitlines() for words in asked if words.startswith("create\n"))


def calls(machine: Machine) -> str:
    return (machine.folder / "calls").read_text()


def there(machine: Machine, name: str, release: str) -> None:
    """A container is there already."""
    (machine.folder / "there" / name).mkdir()
    (machine.folder / "there" / name / "release").write_text(f"{release}\n")


class TestStart:
    def test_it_listens_on_this_machine_only_and_says_whose_it_is(self, docker: Machine) -> None:
        ran = start(docker, memory="512m", cpus="0.5")
        assert ran.code == 0, ran.items
        given = created(docker)
        pairs = set(pairwise(given))
        assert ("--publish", "127.0.0.1:20011:8000") in pairs
        assert ("--name", NAME) in pairs
        assert ("--restart", "no") in pairs
        assert {("--memory", "512m"), ("--cpus", "0.5"), ("--log-opt", "max-size=10m")} <= pairs
        assert {("--label", "devflow.environment=e0e0e0e0"), ("--label", "devflow.colour=green")} <= pairs
        assert given[-1] == ID

    def test_values_of_variables_are_no_arguments(self, docker: Machine) -> None:
        docker.secrets = RunSecrets({"TOKEN": "s3cret", "KEY": "line\ns3cret"})
        docker.run(f'echo {ID} >"$run/image"\n' + images.BRING, options=DEFAULTS)
        start(docker)
        given = created(docker)
        assert "s3cret" not in " ".join(given)
        assert ("--env", "KEY") in set(pairwise(given))
        assert "PORT=8000" in given

    def test_a_command_is_taken_apart_as_its_quotes_say(self, docker: Machine) -> None:
        start(docker, command="serve --title 'My shop' \"$HOME\" *")
        given = created(docker)
        assert given[given.index(ID) + 1 :] == ["serve", "--title", "My shop", "$HOME", "*"]

    @pytest.mark.parametrize(
        ("ports", "told"), [("", "does not say on which port"), ("80/tcp\n443/tcp\n", "several ports (80 443)")]
    )
    def test_a_port_that_is_not_known_is_asked_for(self, docker: Machine, ports: str, told: str) -> None:
        (docker.folder / "ports").write_text(ports)
        assert told in start(docker).explained
        assert start(docker, container_port="80").code == 0

    def test_a_taken_port_is_told(self, docker: Machine) -> None:
        (docker.folder / "start").write_text("Bind for 127.0.0.1:20011 failed: port is already allocated\n")
        ran = start(docker)
        assert ran.explained.startswith(
            "Port 20011 of web1, which is this environment's for its green colour, is taken"
        )

    def test_a_release_without_image_is_told(self, docker: Machine) -> None:
        (docker.root / "releases" / "r2" / images.IMAGE_FILE).unlink()
        assert start(docker).explained == "The release r2 has no image."


class TestVolumes:
    def test_a_volume_is_made_once(self, docker: Machine) -> None:
        assert "Made the volume shop-data" in start(docker, volumes="shop-data:/data ./up:/up:ro").lines
        given = created(docker)
        assert "shop-data:/data" in given
        assert f"{docker.root}/shared/up:/up:ro" in given
        assert "Made the volume shop-data" not in start(docker, volumes="shop-data:/data").lines

    def test_one_that_was_full_is_not_replaced_by_an_empty_one(self, docker: Machine) -> None:
        start(docker, volumes="shop-data:/data")
        (docker.folder / "volumes" / "shop-data").unlink()
        ran = start(docker, volumes="shop-data:/data")
        assert ran.code == 1
        assert "The volume shop-data, which held this environment's data, is not on web1 any more." in ran.explained
        assert not (docker.folder / "volumes" / "shop-data").exists()


class TestVolumesWithoutAName:
    """Docker makes them where an image declares VOLUME; they go with the container that they are of, not before."""

    @pytest.mark.parametrize(
        ("volumes", "told"),
        [
            ("", "/data /var/lib/x/"),
            ("shop:/data", "/var/lib/x/"),
            ("shop:/data ./x:/var/lib/x:ro", ""),
            ("shop:/var", "/data /var/lib/x/"),
        ],
    )
    def test_what_is_not_kept_is_told(self, docker: Machine, volumes: str, told: str) -> None:
        (docker.folder / "declared").write_text("/data\n/var/lib/x/\n\n")
        warned = [line for line in start(docker, volumes=volumes).lines if "WARNING" in line]
        assert [f"the image declares VOLUME for {told}, and" in line for line in warned] == [True] * bool(told)

    def test_those_of_an_older_release_go_with_its_container(self, docker: Machine) -> None:
        there(docker, NAME, "r1")
        assert start(docker).code == 0
        assert f"rm\n--force\n--volumes\n{NAME}\n" in calls(docker)
        assert "create\n" in calls(docker)

    def test_a_release_that_is_there_already_is_started_as_it_is(self, docker: Machine) -> None:
        there(docker, NAME, "r2")
        assert start(docker).code == 0
        assert "rm\n" not in calls(docker)
        assert "create\n" not in calls(docker)
        assert f"start\n{NAME}\n" in calls(docker)

    def test_it_is_not_thrown_away_where_it_cannot_be_started(self, docker: Machine) -> None:
        there(docker, NAME, "r2")
        (docker.folder / "start").write_text("no such device\n")
        assert "could not be started" in start(docker).explained
        assert "rm\n" not in calls(docker)

    def test_one_on_another_port_is_made_anew_and_its_data_stays_on_the_disk(self, docker: Machine) -> None:
        there(docker, NAME, "r2")
        ran = docker.run("DOCKER_PORT=1; export DOCKER_PORT\n" + COLOUR + containers.START, options=DEFAULTS)
        assert ran.code == 0
        assert f"rm\n--force\n{NAME}\n" in calls(docker)
        assert "create\n" in calls(docker)

    def test_what_recreate_stopped_is_set_aside_and_started_again(self, docker: Machine) -> None:
        there(docker, NAME, "r1")
        assert docker.run("old_release=r1\n" + COLOUR + containers.START, options=DEFAULTS).code == 0
        assert f"{NAME}-r1" in (each.name for each in (docker.folder / "there").iterdir())
        assert "rm\n" not in calls(docker)
        there(docker, NAME, "r2")
        folder = docker.root / "releases" / "r1"
        folder.mkdir()
        (folder / images.IMAGE_FILE).write_text(f"{ID} devflow/e0e0e0e0:0\n")
        (docker.folder / "calls").unlink()
        back = f"{COLOUR}old_release=r1 release=r1 path=$root/releases/r1\n{containers.START}"
        assert docker.run(back, options=DEFAULTS).code == 0
        assert f"rm\n--force\n--volumes\n{NAME}\n" in calls(docker)
        assert f"rename\n{NAME}-r1\n{NAME}\n" in calls(docker)
        assert "create\n" not in calls(docker)

    def test_what_was_set_aside_goes_when_the_deployment_has_ended(self, docker: Machine) -> None:
        for name in (NAME, f"{NAME}-r1", "devflow-e0e0e0e0-base"):
            there(docker, name, "r1")
        docker.run(containers.PRUNE, options=DEFAULTS)
        assert f"rm\n--volumes\n{NAME}-r1\n" in calls(docker)
        assert calls(docker).count("rm\n") == 1

    @pytest.mark.parametrize(
        ("next_release", "spare", "is_kept"),
        [("r2", "green r2", True), ("r3", "green r2", False), ("r2", "green r1", False), ("r2", "blue r2", False)],
    )
    def test_one_on_standby_that_is_gone_back_to_keeps_them(
        self, docker: Machine, next_release: str, spare: str, is_kept: bool
    ) -> None:
        there(docker, NAME, "r2")
        colour, release = spare.split()
        given = f"next_colour=green next_release={next_release} spare_colour={colour} spare_release={release}\n{COLOUR}"
        assert docker.run(given + containers.REMOVE, options=DEFAULTS).code == 0
        assert (f"rm\n--force\n--volumes\n{NAME}\n" not in calls(docker)) is is_kept


class TestLook:
    def look(self, machine: Machine, state: str) -> Ran:
        (machine.folder / "state").write_text(f"{state}\n")
        machine.tool("sleep", ":")
        return machine.run(COLOUR + "strategy_start_seconds=3\n" + containers.LOOK, options=DEFAULTS)

    @pytest.mark.parametrize("state", ["running 0 0 false none", "running 0 0 false healthy"])
    def test_what_runs_is_well(self, docker: Machine, state: str) -> None:
        assert self.look(docker, state).code == 0

    @pytest.mark.parametrize(
        ("state", "told"),
        [
            ("exited 7 0 false none", "does not stay up: it is exited, with exit code 7."),
            ("exited 137 0 true none", "It ran out of memory"),
            ("running 0 2 false none", "ended and was started again, 2 times."),
            ("running 0 0 false unhealthy", "is not healthy, by its own health check"),
            ("running 0 0 false starting", "has not become healthy in 3 s"),
        ],
    )
    def test_what_does_not_is_told_with_its_last_words(self, docker: Machine, state: str, told: str) -> None:
        ran = self.look(docker, state)
        assert ran.code == 1
        assert told in ran.explained
        assert "  | the last words" in ran.lines

    def test_what_is_ill_in_its_start_is_waited_for_until_the_time_is_over(self, docker: Machine) -> None:
        (docker.folder / "state").write_text("running 0 0 false unhealthy\n")
        docker.tool("sleep", f"echo slept; echo 'running 0 0 false healthy' >{docker.folder}/state")
        patient = "ill_until=$(($(cut -d. -f1 /proc/uptime) + 60))\n"
        ran = docker.run(f"{COLOUR}{patient}{containers.LOOK}", options=DEFAULTS)
        assert (ran.code, ran.lines) == (0, ["Waiting for the container's own health check", "slept"])
        (docker.folder / "state").write_text("running 0 0 false unhealthy\n")
        ran = docker.run(f"{COLOUR}ill_until=1 strategy_start_seconds=9\n{containers.LOOK}", options=DEFAULTS)
        assert "by its own health check: it says nothing. It had 9 s for its start. Its last" in ran.explained

    def test_one_that_printed_nothing_is_told_so(self, docker: Machine) -> None:
        (docker.folder / "silent").touch()
        ran = self.look(docker, "exited 7 0 false none")
        assert ran.explained.endswith("with exit code 7. It printed nothing.")
        assert ran.lines == [f"{NAME} printed nothing"]

    def test_a_container_that_is_gone_is_told(self, docker: Machine) -> None:
        ran = docker.run(COLOUR + containers.LOOK, options=DEFAULTS)
        assert f"The container {NAME} is not on web1 any more" in ran.explained


@pytest.mark.parametrize("command", [containers.STOP, containers.REMOVE, containers.DISABLE])
def test_nothing_there_is_no_error(docker: Machine, command: str) -> None:
    assert docker.run(COLOUR + command, options=DEFAULTS).code == 0
