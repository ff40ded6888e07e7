"""What is derived from a resolved Compose file on the server: the base project and that of a colour, by the real jq."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devflow.commands import compose
from tests.support.machine import Machine, Ran

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="jq, which servers need, is not here")

ENVIRONMENT, RELEASE = "e0", "20261121-1"
BASE = f"devflow-{ENVIRONMENT}"


class Site:
    """A folder as on a server, with the resolved file of one release."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / ".devflow" / "compose" / RELEASE
        self.home.mkdir(parents=True)
        self.treatment = {"proxied": "web", "inside": "8000", "replaced": "web api", "left": "db", "recreated": "clock"}

    def derive(self, what: str, config: dict[str, Any], *, proxy: str = "nginx") -> dict[str, Any]:
        lines = [f"{kind} {names}\n" for kind, names in self.treatment.items()]
        (self.home / "treatment").write_text("".join(lines))
        (self.home / "resolved.json").write_text(json.dumps(config))
        (self.home / "port").write_text("21000")
        given = f"root={self.root} environment={ENVIRONMENT} release={RELEASE} colour=blue port=21000 proxy={proxy}\n"
        file = "base.json" if what == "base_file" else "blue.json"
        script = f"set -e\n{given}{compose.FUNCTIONS}\ncompose_of {RELEASE}\n{what} {RELEASE}\n"
        subprocess.run(["sh", "-c", script], check=True, capture_output=True)
        assert (self.home / file).stat().st_mode & 0o077 == 0
        made: dict[str, Any] = json.loads((self.home / file).read_text())
        return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def config(**changed: Any) -> dict[str, Any]:
    plain = {"networks": {"default": None}}
    services = {
        "web": {
            **plain,
            "build": {"context": "."},
            "ports": [{"target": 8000, "published": "8080"}],
            "depends_on": {"db": {"condition": "service_healthy"}, "api": {"condition": "service_started"}},
            "restart": "always",
            "profiles": ["shop"],
        },
        "api": {**plain, "image": "api", "networks": {"default": {"aliases": ["other"]}}},
        "clock": {**plain, "image": "clock", "depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {**plain, "image": "db", "environment": {"SECRET": "a$$b"}},
    }
    for name, more in changed.items():
        services[name] = {**services[name], **more}
    return {
        "name": BASE,
        "services": services,
        "networks": {"default": {"name": f"{BASE}_default", "ipam": {}}},
        "volumes": {"data": {"name": f"{BASE}_data", "driver": "local"}},
    }


def test_the_base_has_what_is_not_replaced(site: Site) -> None:
    (site.home / "images").write_text("clock sha256:1\nweb sha256:2\n")
    mounted = {"type": "bind", "source": f"{site.root}/releases/{RELEASE}/init.sql", "target": "/init.sql"}
    elsewhere = {"type": "bind", "source": "/srv/files", "target": "/files"}
    made = site.derive("base_file", config(db={"volumes": [mounted, elsewhere]}))
    assert made["name"] == BASE
    assert sorted(made["services"]) == ["clock", "db"]
    assert made["services"]["clock"]["image"] == "sha256:1"
    assert made["services"]["clock"]["pull_policy"] == "never"
    assert made["services"]["db"]["image"] == "db"
    assert made["services"]["db"]["environment"] == {"SECRET": "a$$b"}
    sources = [volume["source"] for volume in made["services"]["db"]["volumes"]]
    assert sources == [f"{site.root}/.devflow/base/init.sql", "/srv/files"]  # the same path in every release
    assert made["volumes"] == {"data": {"name": f"{BASE}_data", "driver": "local"}}
    assert made["services"]["db"]["labels"] == {"devflow.environment": ENVIRONMENT}


def test_a_colour_has_what_is_replaced_under_its_own_names(site: Site) -> None:
    (site.home / "images").write_text("web sha256:2\n")
    made = site.derive("colour_file", config())
    assert made["name"] == f"{BASE}-blue"
    web, api = made["services"]["web-blue"], made["services"]["api-blue"]
    assert sorted(made["services"]) == ["api-blue", "web-blue"]
    assert (web["image"], web["restart"], web["labels"]["devflow.restart"]) == ("sha256:2", "no", "always")
    assert "build" not in web
    assert "profiles" not in web
    assert web["ports"] == [
        {"mode": "ingress", "host_ip": "127.0.0.1", "target": 8000, "published": "21000", "protocol": "tcp"}
    ]
    assert web["depends_on"] == {"api-blue": {"condition": "service_started"}}
    assert web["networks"] == {"default": {}, "own-default": {"aliases": ["web"]}}
    assert api["networks"] == {"default": {}, "own-default": {"aliases": ["api", "other"]}}
    assert made["networks"] == {"default": {"external": True, "name": f"{BASE}_default"}, "own-default": {}}
    assert made["volumes"] == {"data": {"external": True, "name": f"{BASE}_data"}}


def test_networks_are_few(site: Site) -> None:
    site.treatment |= {"replaced": "web", "left": "db", "recreated": ""}
    made = site.derive("colour_file", config())
    assert list(made["networks"]) == ["default"]  # nobody of the colour is to be reached by its name
    site.treatment |= {"replaced": "web api", "left": "", "recreated": ""}
    made = site.derive("colour_file", config())
    assert list(made["networks"]) == ["own-default"]  # nobody of the base is there
    assert made["services"]["web-blue"]["networks"] == {"own-default": {"aliases": ["web"]}}


def test_a_network_that_others_have_is_joined(site: Site) -> None:
    site.treatment |= {"replaced": "web", "left": "", "recreated": ""}
    given = config(web={"networks": {"edge": {"aliases": ["shop"]}}})
    given["networks"] = {"edge": {"name": "traefik", "external": True}}
    made = site.derive("colour_file", given)
    assert made["networks"] == {"edge": {"external": True, "name": "traefik"}}
    assert made["services"]["web-blue"]["networks"] == {"edge": {}}


def test_in_place_the_port_is_that_of_the_proxy(site: Site) -> None:
    site.treatment |= {"replaced": "", "left": "db", "recreated": "web api clock", "in_place": "1"}
    made = site.derive("base_file", config())
    assert made["services"]["web"]["ports"][0]["published"] == "21000"
    assert made["services"]["web"]["depends_on"].keys() == {"db", "api"}
    made = site.derive("base_file", config(), proxy="''")
    assert made["services"]["web"]["ports"] == [{"target": 8000, "published": "8080"}]


def test_variables_go_into_services_as_they_are(tmp_path: Path) -> None:
    odd = "a$b `c` 'd' \"e\" \\ \nf"
    services = {
        "web": {"environment": {"LOG": "debug", "FILE": odd.replace("`", "\\`").replace("$", "$$")}},
        "db": {"environment": None},
    }
    done = subprocess.run(
        ["jq", "--arg", "names", "ODD LOG FILE", "--arg", "into", "web", compose._INJECT],
        input=json.dumps({"services": services}),
        env={"PATH": "/usr/bin:/bin", "ODD": odd, "LOG": "info", "FILE": odd},
        capture_output=True,
        text=True,
        check=True,
    )
    made = json.loads(done.stdout)["services"]
    literal = odd.replace("$", "$$")
    assert made["web"]["environment"] == {"ODD": literal, "LOG": "debug", "FILE": literal}
    assert made["db"]["environment"] == {}


def test_a_look_quotes_what_is_from_outside() -> None:
    nasty = "it's; $(touch /tmp/x) `id`"
    text = compose.look_into({"server": nasty, "commit": "0"}, variables={"KEY": nasty}, env=f"KEY={nasty}\n")
    assert "server='it'\"'\"'s; $(touch /tmp/x) `id`'\n" in text
    assert "export KEY='it'\"'\"'s; $(touch /tmp/x) `id`'\n" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "CHECK",
        "RESOLVE",
        "IMAGES",
        "START",
        "LOOK",
        "STOP",
        "REMOVE",
        "KEEPS",
        "PRUNE",
        "ENABLE",
        "DISABLE",
        "RECREATE",
    ],
)
def test_every_text_is_shell(name: str) -> None:
    text = getattr(compose, name)
    assert (
        subprocess.run(["dash" if shutil.which("dash") else "sh", "-n"], input=text, text=True, check=False).returncode
        == 0
    )


DOCKER = """\
case "$*" in
  "version"*) echo 26 ;;
  "volume inspect "*) [ -e "$FOLDER/volumes/$3" ] ;;
  "volume create "*) for name; do :; done; : >"$FOLDER/volumes/$name" ;;
  "image inspect "*Volumes*) cat "$FOLDER/declared" ;;
  "image inspect "*) echo sha256:1 ;;
  "compose "*build*) cat "$FOLDER/built"; exit "$(cat "$FOLDER/code")" ;;
esac
"""


class Server:
    """A machine with a stand-in of docker, and a release of which a Compose file was read."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.tool("docker", f"FOLDER={machine.folder}\n{DOCKER}")
        (machine.folder / "volumes").mkdir()
        (machine.folder / "declared").write_text("\n")
        self.record = machine.root / ".devflow" / "compose.volumes"
        self.release("r2")

    def release(self, name: str, *, treatment: str = "replaced web\n", **volumes: str) -> None:
        home = self.machine.root / ".devflow" / "compose" / name
        home.mkdir(parents=True, exist_ok=True)
        named = {key: {"name": value} for key, value in volumes.items()}
        services = {"web": {"build": {"context": "."}, "volumes": [{"type": "volume", "target": "/files"}]}}
        (home / "resolved.json").write_text(json.dumps({"services": services, "volumes": named}))
        (home / "images").write_text("web sha256:1\n")
        (home / "treatment").write_text(treatment)

    def has(self, *volumes: str) -> None:
        for volume in volumes:
            (self.machine.folder / "volumes" / volume).touch()

    def lost(self, volume: str) -> None:
        (self.machine.folder / "volumes" / volume).unlink()

    @property
    def volumes(self) -> set[str]:
        return {path.name for path in (self.machine.folder / "volumes").iterdir()}

    def run(self, script: str, *, release: str = "r2") -> Ran:
        return self.machine.run(script, release=release, options={"pull": "", "wait_seconds": "1"})

    def make_volumes(self, release: str) -> Ran:
        return self.run(f'{compose.FUNCTIONS}\ncompose_of "$release"\nmake_volumes\n', release=release)

    def build(self, output: str, code: int = 17) -> Ran:
        (self.machine.folder / "built").write_text(output)
        (self.machine.folder / "code").write_text(f"{code}\n")
        return self.run(compose.IMAGES)


@pytest.fixture
def server(machine: Machine) -> Server:
    return Server(machine)


def test_a_volume_that_was_dropped_once_is_not_forgotten(server: Server) -> None:
    server.release("r1", data="x_data", more="x_more")
    server.release("r2", data="x_data")
    assert server.make_volumes("r1").code == 0
    assert server.volumes == {"x_data", "x_more"}
    assert server.make_volumes("r2").code == 0
    assert server.record.read_text() == "data x_data local\nmore x_more local gone\n"
    server.lost("x_more")
    for script in (compose.KEEPS, f'{compose.FUNCTIONS}\ncompose_of "$release"\nmake_volumes\n'):
        ran = server.run(script, release="r1")
        assert ran.code != 0
        assert "The volume x_more, which held data of this environment, is not on web1 any more" in ran.explained
        assert "docker volume create x_more" in ran.explained
    assert server.volumes == {"x_data"}
    server.has("x_more")
    assert server.run(compose.KEEPS, release="r1").code == 0
    assert server.make_volumes("r1").code == 0
    assert server.record.read_text() == "data x_data local\nmore x_more local\n"


def test_a_volume_that_was_renamed_stays_known_by_its_old_name(server: Server) -> None:
    server.release("r1", data="x_data")
    server.release("r2", data="x_moved")
    server.make_volumes("r1")
    server.has("x_moved")
    assert server.make_volumes("r2").code == 0
    server.lost("x_data")
    assert "The volume x_data" in server.run(compose.KEEPS, release="r1").explained
    assert server.run(compose.KEEPS, release="r2").code == 0


def test_a_failing_build_is_told_with_its_own_lines(server: Server) -> None:
    ran = server.build("Step 1/2 : FROM x\nnpm ERR! missing script: build\nThe command returned a non-zero code: 17\n")
    assert ran.code != 0
    assert "The images of web could not be built on web1:" in ran.explained
    assert "npm ERR! missing script: build / The command returned" in ran.explained
    assert "npm ERR! missing script: build" in ran.lines
    silent = server.build("Building\n")
    assert "it ended with exit code 17. The last lines: Building" in silent.explained


def test_a_disk_that_is_full_is_named(server: Server) -> None:
    ran = server.build(
        "Building\nwrite /var/lib/docker/x: no space left on device\nERROR: Service 'web' failed to build\n"
    )
    assert ran.explained.startswith("The disk of web1 is full: write /var/lib/docker/x: no space left on device.")


@pytest.mark.parametrize(
    ("declared", "treatment", "is_refused"),
    [
        ("/data\n", "replaced web\n", True),
        ("/data\n", "replaced web\ndeclared web:/data\n", False),
        ("/data\n", "replaced web\naccepted web\n", False),
        ("/data\n", "recreated web\n", False),
        ("/files/\n", "replaced web\n", False),
        ("\n", "replaced web\n", False),
    ],
)
def test_a_volume_of_an_image_that_the_plan_did_not_know(
    server: Server, declared: str, treatment: str, is_refused: bool
) -> None:
    (server.machine.folder / "declared").write_text(declared)
    server.release("r2", treatment=treatment)
    ran = server.build("Building\n", 0)
    assert ("has a volume of its own, /data" in ran.explained) is is_refused, ran.items
    assert (ran.code != 0) is is_refused
