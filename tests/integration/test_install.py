"""install.sh on a machine that has nothing: installed, upgraded while it deploys, gone back, moved under a domain,
removed, and made again from a backup on another database.

One machine for all, in the order in which an administrator would do it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.panel_user import PanelUser
from tests.support.vps import Vps
from tests.support.vps_image import ensure_bare_image

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
SITE = "/srv/www/shop"
PASSWORD = "correct horse battery staple"
DOMAIN = "panel.devflow.test"
PEBBLE = """\
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "httpPort": 80,
 "certificate": "/srv/pebble/crt", "privateKey": "/srv/pebble/key"}}
"""
LOOK_BUSY = "touch ~/under-way; echo x >>~/runs; while [ -e ~/hold ]; do sleep 0.1; done"


class Machine:
    """The server on which the panel is installed, and from the second step on who uses it."""

    def __init__(self, vps: Vps, folder: Path) -> None:
        self.vps = vps
        self.url = f"http://{vps.address}"
        self.token = ""
        self.repository = GitRepository.on_server(vps, f"/home/{vps.user}/shop.git", folder / "work")
        self.wheels = [_wheel(folder)]
        self.wheels += [_changed(self.wheels[0], "9.0.0"), _changed(self.wheels[0], "9.1.0", is_broken=True)]
        for path in (ROOT / "install.sh", *self.wheels):
            self.root("cat >/root/" + path.name, stdin=path.read_bytes())

    @property
    def user(self) -> PanelUser:
        return PanelUser(self.url, self.token)

    def root(self, command: str, stdin: bytes = b"", *, check: bool = True) -> str:
        """What the command printed, both streams."""
        target = (*self.vps.ssh_command, f"root@{self.vps.host}", command)
        done = subprocess.run(
            target, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280, check=False
        )
        said = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{command} (exit {done.returncode}): {said}"
        return said if check else f"{done.returncode} {said}"

    def install(self, arguments: str, *, check: bool = True) -> str:
        return self.root(f"sh /root/install.sh {arguments}", check=check)

    def break_off(self, arguments: str, when: str) -> None:
        """Kills install.sh as soon as the command `when` succeeds."""
        begun = f"setsid sh /root/install.sh {arguments} >/dev/null 2>&1 & echo $! >/root/pid"
        self.root(f"{begun}; until {when}; do sleep 0.05; done; kill -KILL -$(cat /root/pid)")

    def put_checkout(self) -> None:
        """The checkout in /root/checkout, as who has called bin/up once has it: styles and scripts are built."""
        parts = (
            *("install.sh", "bin", "src", "requirements", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"),
            *("package.json", "package-lock.json", ".gitignore", ".tools/assets"),
        )
        packed = subprocess.run(["tar", "-C", ROOT, "-cz", *parts], stdout=subprocess.PIPE, check=True).stdout
        self.root("mkdir /root/checkout && tar -C /root/checkout -xz", packed)

    def wheel(self, number: int) -> str:
        return f"--wheel /root/{self.wheels[number].name}"

    def version(self) -> str:
        return self.root("devflow version").strip()


@pytest.fixture(scope="module")
def machine(docker_engine: Engine, vps_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Vps(docker_engine, ensure_bare_image(docker_engine), systemd=True) as vps:
        yield Machine(vps, tmp_path_factory.mktemp("install"))


def test_what_is_of_others_is_left_to_them(machine: Machine) -> None:
    assert machine.install("--uninstall --purge --yes") == "DevFlow is not installed here.\n"
    machine.root("mkdir -p /opt/devflow/theirs /srv/theirs && useradd --home-dir /srv/theirs devflow")
    said = machine.install(machine.wheel(0), check=False)
    assert said.startswith("1 ")
    assert "an account devflow already that is not the panel's" in said
    machine.root("systemd-run -q --uid devflow --unit theirs sleep 600")
    machine.install("--uninstall --purge --yes")
    assert machine.root("pgrep -u devflow -l").endswith(" sleep\n")
    machine.root(
        "systemctl stop theirs && userdel devflow && mkdir /var/lib/devflow && touch /var/lib/devflow/master.key"
    )
    said = machine.install(machine.wheel(0), check=False)
    assert said.startswith("1 ")
    assert "/var/lib/devflow belongs to another panel" in said
    assert "is not of this panel" in machine.install("--uninstall --purge --yes")
    assert machine.root("cd /var/lib/devflow && stat -c '%n %U' . *") == ". root\nmaster.key root\n"
    machine.root("rm -r /var/lib/devflow")


def test_broken_off_it_says_what_to_do_and_is_run_again(machine: Machine) -> None:
    machine.root("mv /srv/wheels /srv/away")
    said = machine.install(machine.wheel(0), check=False)
    machine.root("mv /srv/away /srv/wheels")
    assert said.startswith("1 ")
    assert "run install.sh again: it goes on" in said
    assert "complete" not in machine.root("ls /opt/devflow/*")
    # Without power, in the middle of pip; and somebody else at the same time.
    machine.root(
        f"cd / && (setsid sh /root/install.sh {machine.wheel(0)} >/dev/null 2>&1 & echo $! >/root/pid) && sleep 3"
    )
    assert "Another install.sh is running" in machine.install(machine.wheel(0), check=False)
    machine.root("kill -KILL -$(cat /root/pid)")


def test_from_nothing_to_a_deployed_site(machine: Machine) -> None:
    said = machine.install(machine.wheel(0))
    address = re.search(r"Set up: (\S+)", said)
    assert address, said
    with httpx.Client(timeout=30) as browser:
        page = browser.get(address[1]).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        typed = {"name": "Ada", "email": "ada@example.test", "password": PASSWORD, "team_name": "Acme"}
        form = typed | {"csrfmiddlewaretoken": token[1]}
        answer = browser.post(address[1], data=form, headers={"Referer": address[1]})
        assert answer.headers.get("location") == "/", answer.text
    created = "devflow admin create-token --email ada@example.test --scopes read,deploy,admin"
    machine.token = machine.root(created).strip()

    vps, user = machine.vps, machine.user
    user.post(
        "servers", name="web1", host="127.0.0.1", user=vps.user, private_key=vps.private_key, host_key=vps.host_key
    )
    user.post("projects", slug="shop", name="Shop", repository=machine.repository.path, recipe="static")
    user.post("projects/shop/environments", name="production", branch="main", servers=["web1"], root=SITE)
    machine.repository.commit({"index.html": "first"})
    assert user.deploy("shop")["status"] == "success"
    assert _served(machine) == "first"


def test_what_it_makes_is_closed_to_others(machine: Machine) -> None:
    kept = (
        "/var/lib/devflow /var/lib/devflow/master.key /etc/devflow/devflow.toml /opt/devflow/current/venv/bin/devflow"
    )
    rights = machine.root(f"stat -L -c '%a %U:%G' {kept}").splitlines()
    assert rights == ["700 devflow:devflow", "600 devflow:devflow", "640 root:devflow", "755 root:root"]
    assert machine.root("find /opt/devflow -perm /022 ! -type l") == ""
    exposure = re.search(r"exposure level[^:]*: ([0-9.]+)", machine.root("systemd-analyze security devflow.service"))
    assert exposure
    assert float(exposure[1]) < 2
    assert "warning  https" in machine.root("devflow doctor")
    listening = machine.root("ss -Hltn sport = :8080")
    assert "127.0.0.1:8080" in listening
    assert len(listening.splitlines()) == 1
    refused = machine.vps.run("devflow admin create-user --email eve@example.test", check=False)
    assert (refused.returncode, "sudo devflow admin" in refused.stderr) == (6, True)


def test_run_again_it_changes_nothing(machine: Machine) -> None:
    state = "systemctl show -p MainPID devflow; stat -c '%n %s %A %U' /etc/devflow/* /opt/devflow/*; cat /etc/devflow/*"
    before = machine.root(state)
    assert "runs already" in machine.install(machine.wheel(0))
    assert machine.root(state) == before


def test_what_cannot_be_is_refused_and_changes_nothing(machine: Machine) -> None:
    given = {
        "--domain 'a b'": "--domain is a name like",
        "--domain 'x.test;}'": "--domain is a name like",
        "--port 99999": "--port is a number",
        "--port 22": "Port 22 of 127.0.0.1 is in use by another program",
        "--wheel /root/none.whl": "There is no file",
        "--tls-certificate /etc/hosts --domain x.test": "go together",
        "--tls-certificate /etc/hosts --tls-key /etc/hosts --domain x.test": "no certificate for x.test",
        "--database-url-file /etc/hosts": "postgresql://",
        "--purge": "--purge goes with --uninstall",
        "--nothing": "no option",
        "--uninstall --purge": "Nothing was removed",
    }
    state = "cat /etc/devflow/* /etc/systemd/system/devflow.* | sha256sum; systemctl show -p MainPID devflow"
    before = machine.root(state)
    lines = (f"sh /root/install.sh {machine.wheel(0)} {one} </dev/null 2>&1 || echo =" for one in given)
    said = machine.root("\n".join(lines)).split("=\n")
    for (arguments, words), answer in zip(given.items(), said, strict=False):
        assert words in answer, arguments
    assert len(said) == len(given) + 1, "each is refused"
    assert machine.root(state) == before
    assert httpx.get(f"{machine.url}/readyz").status_code == 200


def test_an_upgrade_keeps_a_running_deployment_alive_and_loses_no_request(machine: Machine) -> None:
    user, path = machine.user, "projects/shop/environments/production"
    user.ask("PATCH", path, {"phase_commands": {"prepare": [LOOK_BUSY]}})
    machine.repository.commit({"index.html": "second"})
    machine.vps.run("touch ~/hold")
    running = user.post("projects/shop/deploy", environment="production")["id"]
    wait_until(lambda: "yes" in machine.vps.run("[ ! -e ~/under-way ] || echo yes").stdout, 30)

    answers: list[str] = []
    is_over = threading.Event()
    asking = threading.Thread(target=_ask_always, args=(machine.url, answers, is_over))
    asking.start()
    try:
        said = machine.install(f"{machine.wheel(1)} --upgrade")
    finally:
        is_over.set()
        asking.join()
    assert (machine.version(), "DevFlow 9.0.0" in said) == ("9.0.0", True), said
    assert len(answers) > 10
    assert set(answers) == {"200"}, "requests wait in the socket while the panel is restarted"

    assert user.get(f"deployments/{running}")["status"] == "running"
    machine.vps.run("rm ~/hold")
    assert user.ended(running)["status"] == "success"
    assert _served(machine) == "second"
    assert machine.vps.run("cat ~/runs").stdout == "x\n", "nothing was run twice"
    user.ask("PATCH", path, {"phase_commands": {}})


def test_an_upgrade_that_does_not_start_goes_back(machine: Machine) -> None:
    # Killed when they have switched; then it goes back to the one that was ready, not to one of these.
    for number in (2, 0):
        version = machine.wheels[number].name.split("-")[1]
        machine.break_off(machine.wheel(number), f"readlink /opt/devflow/current | grep -q ^{version}-")
    said = machine.install(machine.wheel(2), check=False)
    assert said.startswith("1 ")
    assert "this version is broken" in said, "the reason is shown"
    assert "Going back to 9.0.0" in said
    assert machine.version() == "9.0.0"
    left = machine.root("ls /opt/devflow")
    assert "9.1.0" not in left
    assert "theirs" in left
    machine.repository.commit({"index.html": "third"})
    assert machine.user.deploy("shop")["status"] == "success"
    assert _served(machine) == "third"


def test_under_a_domain_with_a_certificate(machine: Machine) -> None:
    machine.root("mkdir -p /srv/pebble && cat >/srv/pebble/config", PEBBLE.encode())
    machine.root(f"echo 127.0.0.1 {DOMAIN} pebble.test >>/etc/hosts")
    machine.root(
        "cd /srv/pebble && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out crt -days 2 -subj /CN=pebble.test"
        " -addext subjectAltName=DNS:pebble.test && systemd-run -q --unit pebble -E PEBBLE_VA_NOSLEEP=1"
        " pebble -config /srv/pebble/config && curl -sS --retry 20 --retry-connrefused --retry-delay 1 --cacert crt"
        " -o /dev/null https://pebble.test:14000/dir"
    )
    given = f"--email ada@example.test --port 8081 --domain {DOMAIN} --acme-server https://pebble.test:14000/dir"
    # Broken off when all is written down and nothing is applied: the next run applies it.
    machine.break_off(f"{given} {machine.wheel(1)}", "grep -q port=8081 /etc/devflow/install.conf")
    machine.root(f"REQUESTS_CA_BUNDLE=/srv/pebble/crt sh /root/install.sh {machine.wheel(1)}")
    listening = machine.root("ss -Hltn '( sport = :8080 or sport = :8081 )'")
    assert re.findall(r"127\.0\.0\.1:(\d+)", listening) == ["8081"], listening
    machine.root("curl -sS --cacert /srv/pebble/crt https://pebble.test:15000/roots/0 >/srv/pebble/root")
    secure = f"curl -sSi --cacert /srv/pebble/root https://{DOMAIN}"
    answer = machine.root(f"{secure}/setup?token=x -H 'X-Request-Id: of-the-client'")
    assert answer.startswith("HTTP/2 403")
    assert "x-request-id: " in answer
    assert "of-the-client" not in answer
    assert "strict-transport-security: max-age=31536000" in answer
    assert '"status": "ok"' in machine.root(f"{secure}/healthz")
    plain = machine.root(f"curl -sSi 'http://{DOMAIN}/a?b=c'")
    assert plain.startswith("HTTP/1.1 308")
    assert f"Location: https://{DOMAIN}/a?b=c" in plain
    found = machine.root("SSL_CERT_FILE=/srv/pebble/root devflow doctor")
    for check in ("https", "certificate", "address", "proxy"):
        assert re.search(rf"^ok +{check} ", found, re.MULTILINE), found
    # Renewed by Debian's timer, with what was given when it was made.
    assert "server = https://pebble.test:14000/dir" in machine.root(f"cat /etc/letsencrypt/renewal/{DOMAIN}.conf")
    assert "reload nginx" in machine.root(f"cat /etc/letsencrypt/renewal/{DOMAIN}.conf")
    assert "runs already" in machine.install(machine.wheel(1)), "what was given is remembered"


def test_a_certificate_that_ended_while_the_panel_was_away_is_renewed(machine: Machine) -> None:
    old = f"cd /etc/letsencrypt/live/{DOMAIN} && openssl req -x509 -key privkey.pem -subj /CN={DOMAIN} -days 1"
    machine.root(
        f"{old} -addext subjectAltName=DNS:{DOMAIN} >/srv/old && cat /srv/old >cert.pem && cat /srv/old >fullchain.pem"
        " && rm -r /etc/nginx/*/devflow /var/lib/devflow-acme && systemctl reload nginx"
    )
    machine.root(f"REQUESTS_CA_BUNDLE=/srv/pebble/crt sh /root/install.sh {machine.wheel(1)}")
    assert machine.root(f"curl -sS --cacert /srv/pebble/root https://{DOMAIN}/healthz")


def test_uninstalled_it_leaves_nothing_but_data(machine: Machine) -> None:
    backup = "devflow admin backup /var/lib/devflow/panel.backup --passphrase-stdin"
    machine.root(backup, PASSWORD.encode())
    machine.root("mv /var/lib/devflow/panel.backup /root/")
    machine.root(
        "cp -al /opt/devflow /opt/kept && rm -r /opt/kept/theirs && mkdir /etc/systemd/system/devflow.service.d"
    )
    machine.install("--uninstall")
    kept = ["/etc/devflow", "/etc/systemd/system/devflow.service.d", "/opt/devflow", "/var/lib/devflow"]
    assert _left(machine) == kept
    assert machine.root("ls /opt/devflow && rm -r /opt/devflow") == "theirs\n"
    assert "panel" not in machine.root("nginx -T 2>/dev/null | grep server_name || true")
    assert machine.root("getent passwd devflow && ls /var/lib/devflow/master.key")
    assert machine.root("pgrep -l -u devflow || true") == ""


def test_purged_it_leaves_nothing(machine: Machine) -> None:
    machine.install("--uninstall --purge --yes")
    assert _left(machine) == []
    machine.root("mv /opt/kept /opt/devflow")  # the packages need not be installed anew for the next test
    assert machine.root("getent passwd devflow; getent group devflow; true") == ""
    assert machine.root(f"ls /etc/letsencrypt/live/{DOMAIN}", check=False).startswith("2 ")


def test_made_again_from_the_backup_with_a_database_of_its_own_it_goes_on_deploying(machine: Machine) -> None:
    machine.root("DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql")
    secret = "it$ a&secret"
    encoded = quote(secret)
    machine.root(
        "systemctl start postgresql && cd / && setpriv --reuid postgres --init-groups psql -q",
        f"CREATE ROLE panel LOGIN PASSWORD '{secret}'; CREATE DATABASE panel OWNER panel;".encode(),
    )
    machine.root("umask 077; cat >/root/url", f"postgresql://panel:{encoded}@127.0.0.1/panel\n".encode())
    machine.put_checkout()
    first = machine.root("sh /root/checkout/install.sh --no-start --database-url-file /root/url")
    restore = "devflow admin restore /var/lib/devflow/panel.backup --passphrase-stdin"
    machine.root("install -o devflow -m 600 /root/panel.backup /var/lib/devflow/")
    assert "does not open" in machine.root(restore, b"not this passphrase", check=False)
    machine.root(restore, PASSWORD.encode())
    second = machine.root("sh /root/checkout/install.sh")
    built = re.search(r"DevFlow \S+ is installed", first)
    assert built
    assert built[0].removesuffix(" is installed") + " runs" in second, "the same checkout makes the same version"
    said = machine.root("ps -ef; journalctl -q -u devflow; cat /etc/devflow/install.conf")
    assert (secret in said, encoded in said) == (False, False)
    assert "failed" not in machine.root("devflow doctor")

    machine.repository.commit({"index.html": "from the backup"})
    assert machine.user.deploy("shop")["status"] == "success"
    assert _served(machine) == "from the backup"
    refused = machine.root(restore, PASSWORD.encode(), check=False)
    assert "running on" in refused
    machine.install("--uninstall --purge --yes")
    assert _left(machine) == []


def _left(machine: Machine) -> list[str]:
    """What there is of a panel on the machine."""
    where = "/etc/devflow /opt/devflow /var/lib/devflow* /usr/local/bin/devflow /etc/nginx/*/devflow* /run/devflow"
    return machine.root(
        f"ls -d {where} /etc/systemd/system/*/devflow* /etc/systemd/system/devflow* 2>/dev/null || true"
    ).split()


def _served(machine: Machine) -> str:
    return machine.vps.run(f"cat {SITE}/current/index.html").stdout


def _ask_always(url: str, answers: list[str], is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            answers.append(str(httpx.get(f"{url}/healthz", timeout=120).status_code))
        except httpx.HTTPError as error:
            answers.append(repr(error))
        time.sleep(0.1)


def _wheel(folder: Path) -> Path:
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _changed(wheel: Path, version: str, *, is_broken: bool = False) -> Path:
    """The same wheel as another version; a broken one does not get past its preparations."""
    old = wheel.name.split("-")[1]
    path = wheel.with_name(wheel.name.replace(old, version))
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith((".dist-info/METADATA", ".dist-info/RECORD")):
                content = content.replace(f"Version: {old}\n".encode(), f"Version: {version}\n".encode())
                content = content.replace(f"devflow-{old}.".encode(), f"devflow-{version}.".encode())
                content = re.sub(rb",sha256=[^,]*,\d*", b",,", content)
            if name == "devflow/__init__.py":
                content = content.replace(f'"{old}"'.encode(), f'"{version}"'.encode())
            if name == "devflow/prepare.py" and is_broken:
                content = b'import sys\nsys.exit("this version is broken")\n'
            target.writestr(name.replace(f"devflow-{old}.", f"devflow-{version}."), content)
    return path
