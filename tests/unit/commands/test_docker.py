"""What is read of Docker, as Docker 26 told it, and the scripts that act and tidy up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from devflow.commands import docker
from devflow.commands.docker import Candidate
from devflow.core.shell import MASK
from tests.support.containers import ENVIRONMENT, RECORDED

LOOK = docker.parse_look(RECORDED)
CONTAINERS = {row["name"]: row for row in LOOK.containers}
IMAGE, OTHER_IMAGE = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def test_a_whole_look_is_read() -> None:
    assert (LOOK.is_whole, LOOK.problem, LOOK.version) == (True, "", "26.1.5+dfsg1")
    assert list(CONTAINERS) == ["shop-blue", "shop-old", "theirs"]
    assert len(LOOK.images) == 4
    assert [row["name"] for row in LOOK.volumes] == ["shopdata", "spare"]
    assert {row["name"] for row in LOOK.networks} == {"bridge", "host", "none", "shopnet"}
    assert LOOK.roles == {ENVIRONMENT: {"live": ["blue", "r3"], "standby": ["green", "r2"]}}


def test_a_container_is_read_with_what_pages_show() -> None:
    found = CONTAINERS["shop-blue"]
    assert (found["state"], found["health"], found["restarts"]) == ("running", "healthy", 0)
    assert docker.named_in(found["image"]) == (ENVIRONMENT, "c30000000000-3a2b3c4d")
    assert found["ports"] == ["127.0.0.1:18080→80/tcp"]
    assert found["mounts"] == [{"kind": "volume", "source": "shopdata", "target": "/data", "is_read_only": False}]
    assert found["restart_policy"] == "unless-stopped"
    assert found["labels"]["devflow.colour"] == "blue"
    assert found["cpu_percent"] is not None
    assert CONTAINERS["shop-old"]["exit_code"] == 3


def test_labels_with_odd_characters_are_read_and_those_of_others_are_not_kept() -> None:
    labels = CONTAINERS["shop-blue"]["labels"]
    assert labels["devflow.odd"] == 'it\'s "odd" $(reboot) ü'
    assert "odd" not in labels


def test_what_takes_how_much_is_read() -> None:
    assert LOOK.disk is not None
    assert LOOK.disk["images"][CONTAINERS["shop-blue"]["image_id"]] == [2, 38_590_000]
    assert LOOK.disk["containers"][CONTAINERS["shop-blue"]["id"]] == 29_200
    assert LOOK.disk["folders"] == {ENVIRONMENT: 24_576}


def test_an_answer_that_broke_off_is_not_whole() -> None:
    assert not docker.parse_look(RECORDED[: len(RECORDED) // 2]).is_whole
    assert not docker.parse_look("").is_whole


@pytest.mark.parametrize(
    ("line", "problem", "detail"),
    [
        ("=problem missing", "missing", ""),
        ("=problem denied deploy", "denied", "deploy"),
        ("=problem stopped Cannot connect to the Docker daemon.", "stopped", "Cannot connect to the Docker daemon."),
        ("=problem nonsense x", "stopped", "x"),
    ],
)
def test_what_is_in_the_way_is_told(line: str, problem: str, detail: str) -> None:
    found = docker.parse_look(f"{line}\n=end\n")
    assert (found.problem, found.problem_detail, found.containers) == (problem, detail, ())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("29.2kB", 29_200),
        ("38.59MB", 38_590_000),
        ("1.074GB", 1_074_000_000),
        ("105.9MiB", 111_044_198),
        ("2 GiB", 2_147_483_648),
        ("N/A", None),
        ("", None),
        ("1..2MB", None),
    ],
)
def test_sizes_are_read(text: str, size: int | None) -> None:
    assert docker.size(text) == size


# --- secrets ----------------------------------------------------------------------------------------------------------


def values(row: dict[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in row["env"]}  # type: ignore[attr-defined]


def test_what_is_called_like_a_secret_or_holds_one_is_masked() -> None:
    row = CONTAINERS["shop-blue"] | {
        "env": [
            ["APP_ENV", "production"],
            ["DB_PASSWORD", "hunter2hunter2"],
            ["MAIL", "smtp://ada:pa55@mail.test"],
            ["GREETING", "hello s3cret-value"],
            ["EMPTY", ""],
            ["REDIS_URL", "redis://10.0.0.1"],
        ]
    }
    assert values(docker.masked(row, ["s3cret-value", "1"], is_ours=True)) == {
        "APP_ENV": "production",
        "DB_PASSWORD": MASK,
        "MAIL": f"smtp://ada:{MASK}@mail.test",
        "GREETING": MASK,
        "EMPTY": "",
        "REDIS_URL": MASK,
    }


def test_of_what_is_not_ours_no_value_and_no_argument_is_kept() -> None:
    row = CONTAINERS["theirs"]
    masked = docker.masked(row, (), is_ours=False)
    assert set(values(masked).values()) == {MASK}
    assert masked["command"] == ["sleep", MASK]


def test_secrets_in_a_command_are_masked() -> None:
    command = ["app", "--db-password", "hunter2", "--token=abc", "--port", "80", "s3cret-value", "--url=x://u:p4ss@h"]
    masked = docker.masked({"env": [], "command": command}, ["s3cret-value"], is_ours=True)
    assert masked["command"] == [
        "app",
        "--db-password",
        MASK,
        f"--token={MASK}",
        "--port",
        "80",
        MASK,
        f"--url=x://u:{MASK}@h",
    ]


# --- whose it is ------------------------------------------------------------------------------------------------------

DASHED = str(UUID(ENVIRONMENT))
OTHER = "f" * 32


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"devflow.environment": ENVIRONMENT}, []),
        ({"devflow.environment": DASHED}, []),
        ({"com.docker.compose.project": f"devflow-{ENVIRONMENT}"}, []),
        ({"com.docker.compose.project": f"devflow-{ENVIRONMENT}-green"}, []),
        ({}, [f"devflow/{ENVIRONMENT}:0123456789ab-01234567"]),
        ({}, ["postgres:16", f"devflow-{ENVIRONMENT}-db:20261121-104501-1234af"]),
        ({}, [f"devflow-stack/{ENVIRONMENT}-web:0123456789ab"]),
        ({"devflow.environment": OTHER}, [f"devflow-{ENVIRONMENT}-web:r1"]),
    ],
)
def test_whose_it_is_labels_projects_and_names_say(labels: dict[str, str], names: list[str]) -> None:
    assert docker.environment_of(labels, names) == ENVIRONMENT == docker.identity(UUID(ENVIRONMENT))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({}, []),
        ({"devflow.environment": "production"}, []),
        ({"com.docker.compose.project": f"my-devflow-{ENVIRONMENT}"}, []),
        ({"com.docker.compose.project": f"devflow-{ENVIRONMENT}-blue-2"}, []),
        ({}, [f"example.com/devflow/{ENVIRONMENT}:1", "<none>:<none>"]),
        ({}, [f"devflow/{ENVIRONMENT}:1", f"devflow/{OTHER}:1"]),
    ],
)
def test_what_says_nothing_or_two_things_is_nobodys(labels: dict[str, str], names: list[str]) -> None:
    assert docker.environment_of(labels, names) == ""


def test_a_look_tells_what_kept_releases_run_from_and_where_data_is(tmp_path: Path) -> None:
    """The script's own shell, over a site of each kind; docker knows nothing."""
    made, gone = tmp_path / "site/releases/r1", tmp_path / "site/.devflow/compose/r0"
    kept = tmp_path / "site/.devflow/compose/r1"
    for folder in (made, gone, kept):
        folder.mkdir(parents=True)
    (made / ".devflow-image").write_text(f"{IMAGE} devflow/e1:c1\n")
    (kept / "images").write_text(f"web {OTHER_IMAGE}\ndb {IMAGE}\n")
    (gone / "images").write_text("web sha256:none\n")
    (tmp_path / "site/.devflow/volumes").write_text("shop-data\n")
    (tmp_path / "site/.devflow/compose.volumes").write_text("db p_db local\n")
    script = docker.look([("e1", str(tmp_path / "site"))], with_disk=False)
    script = script.replace(docker.FIND, "docker=true; version=1\n")
    given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    ran = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, env=given, check=True)
    roles = docker.parse_look(ran.stdout).roles
    assert roles == {"e1": {"volumes": ["shop-data", "p_db"], "images": [IMAGE, OTHER_IMAGE]}}


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "is_ours"),
    [
        ("e1/", True),
        ("e1/devflow-e1-blue", True),
        ("/devflow-e1", True),
        ("/devflow-e1-green", True),
        ("/", False),
        ("e2/devflow-e1", False),
        ("/devflow-e1-x", False),
        ("<no value>/<no value>", False),
    ],
)
def test_only_what_is_of_the_environment_is_acted_on(tmp_path: Path, labels: str, is_ours: bool) -> None:
    tool = tmp_path / "docker"
    tool.write_text(
        f"""#!/bin/sh
case "$*" in
  version*) echo 26 ;;
  *Labels*) echo '{labels}' ;;
  *State*) echo 'exited - 0 0 x' ;;
esac
"""
    )
    tool.chmod(0o755)
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    script = docker.act("stop", container="c1", environment="e1")
    ran = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, env=given, check=True)
    assert docker.parse_act(ran.stdout).outcome == ("seen" if is_ours else "other")


@pytest.mark.parametrize(
    ("output", "acted"),
    [
        ("=seen running healthy 0 2 2026-01-01T00:00:00Z", docker.Acted("seen", "running", "healthy", 0)),
        ("=seen exited - 137 0 x", docker.Acted("seen", "exited", "", 137)),
        ("=failed exited - 3 0 x", docker.Acted("failed", "exited", "", 3)),
        ("=gone", docker.Acted("gone")),
        ("=refused Error: port is taken", docker.Acted("refused", detail="Error: port is taken")),
        ("=problem stopped no daemon\n=end", docker.Acted("problem", detail="stopped no daemon")),
        ("", docker.Acted("failed")),
    ],
)
def test_what_came_of_an_action_is_read(output: str, acted: docker.Acted) -> None:
    assert docker.parse_act(output) == acted


@pytest.mark.parametrize("name", ["$(touch pwned)", "a'b", 'x"; touch pwned; "', "-f"])
def test_what_comes_from_outside_is_quoted(name: str, tmp_path: Path) -> None:
    """The scripts are read by a shell that has no docker: nothing of a name is run."""
    candidate = Candidate("image", name, name, names=(name,), release=name)
    for script in (
        docker.look([(name, name)], with_disk=True),
        docker.act("stop", container=name, environment=name),
        docker.follow(container=name, tail=1),
        docker.prune([candidate], {name: name}),
    ):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        checked = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, cwd=tmp_path, check=False)
        assert checked.returncode == 0, checked.stderr
        stub = script.replace(docker.FIND, "docker=false; version=x\n")
        subprocess.run(
            ["sh", "-s"],
            input=stub,
            text=True,
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            timeout=20,
            check=False,
        )
        assert not (tmp_path / "pwned").exists()


# --- tidying up, with a docker that notes what it is told -------------------------------------------------------------

FAKE = """\
#!/bin/sh
case "$1 $2" in
  'version '*) echo 26 ;;
  'container inspect') echo "${container_is:-exited e1}" ;;
  'image inspect')
    [ ! -e "$state/gone" ] || exit 1
    [ "$3" != --format ] || echo "${image_is:-e1 /devflow/e1:c1}" ;;
  'volume inspect') echo "${volume_is:-e1 }" ;;
  'ps -aq') printf %s "$used" ;;
  'image rm') echo "$*" >>"$state/done"; touch "$state/gone" ;;
  *) echo "$*" >>"$state/done" ;;
esac
"""


class Site:
    """A server's folders, and a docker there whose answers `given` says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "site"
        (self.root / ".devflow").mkdir(parents=True)
        (self.root / "releases").mkdir()
        (folder / "bin").mkdir()
        tool = folder / "bin/docker"
        tool.write_text(FAKE)
        tool.chmod(0o755)

    def note(self, name: str, text: str) -> None:
        (self.root / ".devflow" / name).write_text(f"{text}\n")

    def prune(self, *candidates: Candidate, **given: str) -> tuple[list[tuple[str, str]], list[str]]:
        """What was told of each (outcome, why), and what docker was told to do."""
        environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "state": str(self.folder),
            **given,
        }
        script = docker.prune(candidates, {"e1": str(self.root)})
        ran = subprocess.run(
            ["sh", "-s"], input=script, text=True, capture_output=True, env=environment, timeout=30, check=False
        )
        assert ran.stdout.endswith("=end\n"), ran.stderr
        done = self.folder / "done"
        found = [(each.outcome, each.why) for each in docker.parse_prune(ran.stdout)]
        return found, done.read_text().splitlines() if done.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def image(**changes: object) -> Candidate:
    given: dict[str, object] = {
        "kind": "image",
        "id": IMAGE,
        "environment": "e1",
        "names": ("devflow/e1:c1",),
        "release": "r1",
    }
    return Candidate(**{**given, **changes})  # type: ignore[arg-type]


def box(**changes: object) -> Candidate:
    given: dict[str, object] = {
        "kind": "container",
        "id": "c" * 64,
        "environment": "e1",
        "release": "r1",
        "colour": "green",
    }
    return Candidate(**{**given, **changes})  # type: ignore[arg-type]


def test_what_still_may_go_is_removed(site: Site) -> None:
    volume = Candidate("volume", "data", "e1")
    assert site.prune(volume, image(), box()) == (
        [("removed", "")] * 3,
        [f"container rm {'c' * 64}", "image rm devflow/e1:c1", "volume rm data"],
    )


def test_what_is_of_an_environment_that_is_not_known_is_never_touched(site: Site) -> None:
    assert site.prune(image(environment="e2"), box(environment="e2")) == ([], [])


@pytest.mark.parametrize(
    ("candidate", "given", "why"),
    [
        (box(), {"container_is": "running e1"}, "it is running now"),
        (box(), {"container_is": "exited other"}, "it is not ours"),
        (box(), {"container_is": "exited "}, "it is not ours"),
        (image(), {"image_is": "other /devflow/e1:c1"}, "it is not ours"),
        (image(), {"image_is": "e1 /devflow/e1:c1 theirs:1"}, "it has other names now"),
        (image(names=("theirs:1",)), {"image_is": "e1 /theirs:1"}, "it is not ours"),
        (image(names=("theirs:1",)), {"image_is": " /theirs:1"}, "it is not ours"),
        (image(names=()), {"image_is": " /"}, "it is not ours"),
        (image(names=()), {"image_is": " devflow-e2/"}, "it is not ours"),
        (image(), {"used": "abc"}, "a container uses it"),
        (Candidate("volume", "data", "e1"), {"volume_is": "e1 composed"}, "it is not ours alone"),
        (Candidate("volume", "data", "e1"), {"volume_is": " "}, "it is not ours alone"),
        (Candidate("volume", "data", "e1"), {"used": "abc"}, "a container uses it"),
    ],
)
def test_what_has_changed_since_is_kept(site: Site, candidate: Candidate, given: dict[str, str], why: str) -> None:
    assert site.prune(candidate, **given) == ([("kept", why)], [])


@pytest.mark.parametrize(
    ("name", "text", "candidate", "why"),
    [
        ("live", "green r1", box(), "it is live"),
        ("standby", "green r1", box(), "it is on standby"),
        ("live", "blue r1", box(), "its release is live"),
        ("live", "blue r1", image(), "its release is live"),
        ("standby", "blue r1", image(), "its release is on standby"),
        ("lock", "e1 d1 shop", image(), "a deployment is under way"),
        ("volumes", "data", Candidate("volume", "data", "e1"), "it holds data of the environment"),
        ("compose.volumes", "db data local", Candidate("volume", "data", "e1"), "it holds data of the environment"),
        ("images", f"{IMAGE} devflow/e1:c1", image(release=""), "a release names it"),
    ],
)
def test_what_the_site_needs_is_kept(site: Site, name: str, text: str, candidate: Candidate, why: str) -> None:
    site.note(name, text)
    assert site.prune(candidate) == ([("kept", why)], [])


def test_an_image_of_a_release_that_is_kept_stays(site: Site) -> None:
    (site.root / "releases/r1").mkdir()
    assert site.prune(image()) == ([("kept", "its release can be rolled back to")], [])


def test_an_image_that_a_kept_release_names_stays_whatever_its_labels_say(site: Site) -> None:
    release = site.root / "releases/r9"
    release.mkdir()
    (release / ".devflow-image").write_text(f"{IMAGE} devflow/e1:c1\n")
    assert site.prune(image(), image(id=OTHER_IMAGE, names=())) == (
        [("kept", "a release names it"), ("kept", "it has other names now")],
        [],
    )


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("devflow-e1-web:c1",), " /devflow-e1-web:c1"),
        (("devflow-e1-web:c1",), " devflow-e1/devflow-e1-web:c1"),
        ((), "e1 /"),
        ((), " devflow-e1/"),
    ],
)
def test_images_of_a_compose_project_are_known_by_their_names(site: Site, names: tuple[str, ...], given: str) -> None:
    found, done = site.prune(image(names=names), image_is=given)
    assert (found, done) == ([("removed", "")], [f"image rm {''.join(names) or IMAGE}"])


def test_an_image_that_a_kept_release_of_a_compose_project_runs_from_stays(site: Site) -> None:
    folder = site.root / ".devflow/compose/r9"
    folder.mkdir(parents=True)
    (folder / "images").write_text(f"web {IMAGE}\n")
    (site.root / "releases/r9").mkdir()
    candidate = image(names=("devflow-e1-web:r8",), release="")
    assert site.prune(candidate, image_is=" /devflow-e1-web:r8") == ([("kept", "a release names it")], [])
    (site.root / "releases/r9").rmdir()
    assert site.prune(candidate, image_is=" /devflow-e1-web:r8")[0] == [("removed", "")]


def test_an_image_with_the_name_of_a_kept_release_stays(site: Site) -> None:
    (site.root / "releases/r9").mkdir()
    candidate = image(names=("devflow-e1-web:r8", "devflow-e1-web:r9"), release="r8")
    found = site.prune(candidate, image_is=" /devflow-e1-web:r8 devflow-e1-web:r9")
    assert found == ([("kept", "its release can be rolled back to")], [])


def test_a_clean_up_waits_for_no_lock_for_ever(site: Site) -> None:
    """Somebody holds the site's lock: nothing of it is touched, and that is said."""
    holder = subprocess.Popen(
        ["flock", str(site.root / ".devflow/lock.mutex"), "sleep", "30"], stdout=subprocess.DEVNULL
    )
    try:
        assert site.prune(image()) == ([("kept", "its lock is held")], [])
    finally:
        holder.terminate()
        holder.wait()
