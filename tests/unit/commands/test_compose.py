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


HEALTH = """\
case "$*" in
  "version"*) echo 26 ;;
  "ps "*) echo one ;;
  "logs "*) cat "$FOLDER/log" ;;
  "inspect "*Health.Log*) echo "1 Connection refused" ;;
  "inspect "*devflow.release*) echo "one web-blue r2 running 0 0 false $(cat "$FOLDER/health")" ;;
  "inspect "*) echo "db running 0 $(cat "$FOLDER/health")" ;;
  "compose "*" up "*)
    echo "$*" >>"$FOLDER/ups"
    echo 'level=warning msg="Found orphan containers ([x-db-1]). You can run this with --remove-orphans"'
    [ "$(cat "$FOLDER/health")" = healthy ] || { echo "dependency failed: container x-db-1 is unhealthy"; exit 1; } ;;
esac
"""


class Patient:
    """A service that its health check calls ill, and well as soon as somebody has waited; or never."""

    def __init__(self, machine: Machine, *, recovers: bool = True, log: str = "words\n") -> None:
        self.machine = machine
        machine.tool("docker", f"FOLDER={machine.folder}\n{HEALTH}")
        machine.tool("sleep", f"echo healthy >{machine.folder}/health" if recovers else f"{shutil.which('sleep')} 0.3")
        (machine.folder / "health").write_text("unhealthy\n")
        (machine.folder / "log").write_text(log)
        home = machine.root / ".devflow" / "compose" / "r2"
        home.mkdir(parents=True)
        (home / "treatment").write_text("replaced web\n")

    def run(self, script: str, *, seconds: int | None = None) -> Ran:
        until = "" if seconds is None else f"ill_until=$(($(cut -d. -f1 /proc/uptime) + {seconds}))\n"
        return self.machine.run(f"colour=blue\n{until}{script}", release="r2", options={"wait_seconds": "60"})


UP = f"{compose.FUNCTIONS}\ncompose_of r2\ncompose_up -p devflow-x -f blue.json up --detach web-blue\n"


def test_a_service_that_is_ill_in_its_start_is_waited_for(machine: Machine) -> None:
    ran = Patient(machine).run(compose.LOOK, seconds=60)
    assert (ran.code, ran.lines) == (0, ["Waiting for the health checks of: web"])


@pytest.mark.parametrize("seconds", [None, 1])
def test_one_that_stays_ill_is_told_with_the_words_of_its_check(machine: Machine, seconds: int | None) -> None:
    ran = Patient(machine, recovers=False, log="").run(compose.LOOK, seconds=seconds)
    assert ran.code != 0
    more = " Its time to become healthy is over." if seconds else ""
    assert ran.explained == (
        "The service web on web1 is not healthy, by its own health check: 1 Connection refused."
        f"{more} It printed nothing."
    )
    assert "web printed nothing" in ran.lines


def test_what_waits_for_one_that_is_ill_is_started_later(machine: Machine) -> None:
    ran = Patient(machine).run(UP, seconds=60)
    assert ran.code == 0, ran.items
    assert "Waiting for a service that others wait for: dependency failed" in ran.lines[0]
    first, second = (machine.folder / "ups").read_text().splitlines()
    assert first.endswith("up --detach web-blue")
    assert second.endswith("up --no-deps --detach web-blue")


def test_compose_gives_no_advice_on_what_is_removed_later(machine: Machine) -> None:
    ran = Patient(machine).run(UP, seconds=60)
    assert ran.code == 0
    assert "orphan" not in " ".join(ran.lines)


def test_what_waits_for_one_that_stays_ill_is_told_why(machine: Machine) -> None:
    ran = Patient(machine, recovers=False).run(UP, seconds=1)
    assert ran.code != 0
    assert "x-db-1 is unhealthy. The health check of db: 1 Connection refused" in ran.explained
    assert "  | words" in ran.lines


PUBLISHED = """\
case "$*" in
  "version"*) echo 26 ;; "compose version"*) echo 2.30 ;;
  "ps -q") echo one ;;
  "inspect "*) cat "$FOLDER/published" ;;
  "image inspect"*|"volume inspect"*) ;;
esac
"""


@pytest.fixture
def ports(machine: Machine) -> Machine:
    """A server on which sshd listens, and a container of somebody else's, and one of this environment's."""
    machine.tool("docker", f"FOLDER={machine.folder}\n{PUBLISHED}")
    machine.tool(
        "ss",
        f'case "$1 $2" in *u*"= :53") cat {machine.folder}/udp ;; *t*) grep "${{2#*= }} " {machine.folder}/tcp ;; esac',
    )
    rows = ['0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3))', "127.0.0.1:5432 0.0.0.0:*", "*:8025 *:*", "*:25 *:*"]
    (machine.folder / "tcp").write_text("".join(f"LISTEN 0 5 {row}\n" for row in rows))
    (machine.folder / "udp").write_text("UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\n")
    (machine.folder / "published").write_text("8025/80/tcp /other-mail-1 other\n\n25/25/tcp /x devflow-e0e0e0e0\n")
    return machine


@pytest.mark.parametrize(
    ("published", "told"),
    [
        (
            "tcp=22",
            "The service tcp publishes port 22 of web1, which is taken by sshd (process 7). Nothing was changed",
        ),
        ("tcp=10.0.0.1:22", "port 22 of web1, which is taken by sshd"),
        ("db=5432", "taken by another process (see: sudo ss -ltnp sport = :5432)"),
        ("db=127.0.0.1:5432", "port 5432"),
        ("db=10.0.0.1:5432", ""),
        ("mail=8025", "which is taken by the container other-mail-1."),
        ("mail=25", ""),  # its own
        ("dns=53/udp", "publishes port 53/udp of web1, which is taken by another process"),
        ("dns=127.0.0.1:53/udp", ""),
        ("dns=53", ""),
        ("any=20-25", ""),
        ("ok=9999 tcp=22", "The service tcp"),
        ("", ""),
    ],
)
def test_a_port_of_the_server_that_is_taken_is_told_before_anything_is_done(
    ports: Machine, published: str, told: str
) -> None:
    ran = ports.run(f"compose_ports='{published}'\n{compose.CHECK}")
    assert (ran.code != 0) is bool(told), ran.items
    assert told in ran.explained


def test_a_rollback_looks_at_the_ports_of_its_release(ports: Machine) -> None:
    home = ports.root / ".devflow" / "compose" / "r1"
    home.mkdir(parents=True)
    services = {
        "web": {"ports": [{"published": "5432", "target": 1}]},
        "tcp": {"ports": [{"published": "22", "target": 1, "protocol": "tcp", "host_ip": "127.0.0.1"}]},
        "mail": {"ports": [{"published": "25", "target": 25, "protocol": "tcp"}, {"target": 5}]},
    }
    (home / "resolved.json").write_text(json.dumps({"services": services}))
    (home / "images").touch()
    (home / "treatment").write_text("replaced web\nrecreated tcp mail\nproxied web\n")
    assert "The service tcp publishes port 22" in ports.run(compose.KEEPS, release="r1").explained
    del services["tcp"]
    (home / "resolved.json").write_text(json.dumps({"services": services}))
    assert ports.run(compose.KEEPS, release="r1").code == 0
