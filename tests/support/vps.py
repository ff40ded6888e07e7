"""A test server: a container of the VPS image with sshd on a port of 127.0.0.1, for one test or a module of them.

`Vps(engine, image, systemd=True, docker=True)`, or `make_vps(systemd=True, docker=True)`, or the fixture `vps_docker`,
is one that runs containers of its own: Docker 26 with the `compose` and `buildx` plugins; `deploy` is in the group
docker (without: `vps.run("gpasswd -d deploy docker", user="root")`). It is ready after 3 s and takes 140 MB. HAProxy
runs with Debian's empty configuration, socat speaks to its sockets, nginx is as in any other server. The fixture
`docker_image` is the image alone: `Vps(engine, docker_image, systemd=True)` balances and has no Docker running.

`vps.start_registry()` gives an address that all test servers may push to and pull from, without login or with one.
`tmpfs={"/var/lib/docker": "size=200m"}` is a disk that fills up. What such a server cannot do, for the kernel that it
runs on may not let it: limit memory or processor time (`docker run --memory` warns, `--cpus` is refused).

No registry is needed for an image: `vps.base_image()` makes `devflow-base` there (1 s, 40 MB) with Python's standard
library and busybox, and returns its name. A repository then has

    FROM devflow-base
    COPY server.py /server.py
    CMD ["python3", "/server.py"]

and is built with `docker build` or `docker compose up --build` as anywhere; a Compose file may also name the image
itself and give a `command`.
"""

from __future__ import annotations

import atexit
import fcntl
import http.client
import os
import random
import secrets
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from .docker_engine import CACHE, Engine, as_root
from .keys import make_key_pair
from .vps_image import ensure_docker_image

NAME_PREFIX = "devflow-test-"
OWNER_LABEL = "devflow-test.owner"
READY_TIMEOUT_SECONDS = 30
QUICK = ("-o", "KexAlgorithms=curve25519-sha256")
"""For ssh of the tests: what it takes by itself costs 0.1 s of processor time with each connection."""
# Below the ephemeral range: no outgoing connection takes the port while the container is stopped.
PORTS = range(20000, 32000)
# How long others wait at most for a server without power or network to come back to its address.
ADDRESS_TIMEOUT_SECONDS = 30
# systemd as PID 1 without --privileged. An engine on a mixed cgroup host has the version 2 tree in a folder of its own.
SYSTEMD_CGROUP = "/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").exists() else "/sys/fs/cgroup"
SYSTEMD_OPTIONS = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
    *("--cgroupns", "host", "--volume", f"{SYSTEMD_CGROUP}:/sys/fs/cgroup:rw"),
    *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),
    *("--stop-signal", "SIGRTMIN+3"),
)
# A volume: an image's layers cannot lie on the layers of the container around them.
DOCKER_FOLDER = "/var/lib/docker"
START = "/usr/local/sbin/vps-start"
START_WITH_DOCKER = f"systemctl -q enable containerd docker.socket docker && exec {START} systemd"
BASE_IMAGE = "devflow-base"
REGISTRY_PORT = 5000
REGISTRY = f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}, delete: {{enabled: true}}}}
http: {{addr: ":{REGISTRY_PORT}"}}
"""


class _Addresses:
    """Keeps the address of a server that is away: the engine gives a free one to the next container of whatever run."""

    def __init__(self) -> None:
        self._away: set[str] = set()
        self._mutex = threading.Lock()
        self._lock: TextIO | None = None

    def keep(self, name: str) -> None:
        """No other process starts a server from now on, until `let_go` or for ADDRESS_TIMEOUT_SECONDS."""
        with self._mutex:
            if not self._away:
                self._lock = _wait_for_lock(CACHE / "addresses.lock", ADDRESS_TIMEOUT_SECONDS)
            self._away.add(name)

    def let_go(self, name: str) -> None:
        with self._mutex:
            self._away.discard(name)
            if not self._away and self._lock:
                self._lock.close()
                self._lock = None


_addresses = _Addresses()


class Vps:
    """A server to deploy to. A context manager: the container goes with it, also when the test run is broken off.

    `host`, `port`, `user`, `private_key` and `host_key` are what a panel needs to reach it; nginx, once told what to
    serve (`serve`), answers on `http_port`. Without `systemd` it starts in under a second and sshd is all that runs.
    `tmpfs` maps folders to mount options ("size=20m,uid=1000"; `deploy` is 1000), for a disk that fills up.
    With `docker` (and `systemd`) it runs containers; the image is then the one made from `image`.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        engine: Engine,
        image: str,
        *,
        systemd: bool = False,
        docker: bool = False,
        tmpfs: Mapping[str, str] | None = None,
        user: str = "deploy",
    ) -> None:
        self.name = NAME_PREFIX + secrets.token_hex(4)
        self.user = user
        self.private_key, self.public_key = make_key_pair()
        self._engine = engine
        self._image = ensure_docker_image(engine) if docker else image
        self._systemd = systemd
        self._docker = docker
        self._tmpfs = tmpfs or {}
        self._address_before = ""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix=self.name)
        self.key_file = Path(self._folder.name) / "id"
        self.known_hosts_file = Path(self._folder.name) / "known_hosts"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(self.private_key)
        atexit.register(self.close)
        self._create()
        self.start()
        self.host_key = " ".join(self._in_container("cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        self.known_hosts_file.write_text(f"[{self.host}]:{self.port} {self.host_key}\n")
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes the container; harmless when it is gone."""
        atexit.unregister(self.close)
        self._engine.run("rm", "--force", "--volumes", self.name, check=False)
        _addresses.let_go(self.name)
        self._folder.cleanup()

    # --- what a person would do on it ---

    def run(
        self,
        command: str,
        *,
        user: str | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout_seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """The shell command over ssh, as `user` (default: the server's). With `check`, a failure is a RuntimeError."""
        done = subprocess.run(
            [*self.ssh_command, *QUICK, f"{user or self.user}@{self.host}", command],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"on {self.name}: {command} (exit {done.returncode})\n{done.stdout}{done.stderr}")
        return done

    @property
    def ssh_command(self) -> list[str]:
        """`ssh` with everything but the user and host: for `run`, git and rsync."""
        options = (
            *("-F", "none", "-i", str(self.key_file), "-p", str(self.port)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
            *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.known_hosts_file}"),
        )
        return ["ssh", *options]

    def put(self, text: str, path: str, *, user: str | None = None, mode: str = "644") -> None:
        """Writes a file, with the folders above it."""
        quoted = shlex.quote(path)
        script = f"mkdir -p $(dirname {quoted}) && cat >{quoted} && chmod {mode} {quoted}"
        self.run(script, user=user, stdin=text)

    def serve(self, root: str, *, php: bool = False) -> None:
        """nginx serves the folder (or link) `root` on `http_port`, PHP included; returns when it does."""
        mark = secrets.token_hex(4)
        self.run(f"vps-site {'php' if php else 'static'} {shlex.quote(root)} {mark}", user="root")
        _wait_until(
            lambda: self.get("/").headers.get("X-Site") == mark,
            f"nginx on {self.name}",
            timeout_seconds=READY_TIMEOUT_SECONDS,
        )

    def get(self, path: str = "/", *, timeout_seconds: float = 10) -> Response:
        """What the site answers; a server that does not answer raises OSError."""
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read().decode(errors="replace"))
        finally:
            connection.close()

    def base_image(self) -> str:
        """The name of an image with Python and busybox, present in this server's Docker: see above."""
        self.run(
            f"docker image inspect {BASE_IMAGE} >/dev/null 2>&1"
            f" || docker import --change 'ENV PYTHONUNBUFFERED=1' /usr/local/share/{BASE_IMAGE}.tar {BASE_IMAGE}",
            user="root",
        )
        return BASE_IMAGE

    def start_registry(self, login: tuple[str, str] | None = None) -> str:
        """Debian's docker-registry answers on this server; returns its address, "172.17.0.3:5000". May be called again
        with another `login` (user, password); without one anybody may push and pull."""
        access = ""
        if login:
            user, password = login
            # PHP is there, and registries want bcrypt.
            encrypt = "<?php echo password_hash(trim(fgets(STDIN)), PASSWORD_BCRYPT);"
            self.put(encrypt, "/usr/local/share/encrypt.php", user="root")
            encrypted = self.run("php /usr/local/share/encrypt.php", user="root", stdin=password).stdout
            self.put(f"{user}:{encrypted}\n", "/etc/docker/registry/htpasswd", user="root")
            access = "auth: {htpasswd: {realm: test, path: /etc/docker/registry/htpasswd}}\n"
        self.put(REGISTRY + access, "/etc/docker/registry/config.yml", user="root")
        self.run("systemctl restart docker-registry", user="root")
        address = f"{self.address}:{REGISTRY_PORT}"
        self.run(f"curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://{address}/v2/")
        return address

    def inside(self, script: str) -> str:
        """What the shell script prints as root, without ssh: also while sshd or the network is away."""
        return self._in_container("sh", "-c", script)

    @property
    def address(self) -> str:
        """Where the other test servers reach it."""
        return self.run("hostname -i").stdout.split()[0]

    # --- faults ---

    def cut(self) -> None:
        """From now on packets vanish both ways, as with a pulled cable: connections hang, they are not closed."""
        self._in_container("iptables", "-I", "INPUT", "!", "-i", "lo", "-j", "DROP")
        self._in_container("iptables", "-I", "OUTPUT", "!", "-o", "lo", "-j", "DROP")

    def drop_half(self) -> None:
        """From now on every other packet of ssh vanishes, by chance, both ways; all else is as before."""
        half = ("-m", "statistic", "--mode", "random", "--probability", "0.5", "-j", "DROP")
        self._in_container("iptables", "-I", "INPUT", "-p", "tcp", "--dport", "22", *half)
        self._in_container("iptables", "-I", "OUTPUT", "-p", "tcp", "--sport", "22", *half)

    def mend(self) -> None:
        """Ends `cut` and `drop_half`; what hung goes on."""
        self._in_container("iptables", "-F", "INPUT")
        self._in_container("iptables", "-F", "OUTPUT")

    def freeze(self) -> None:
        """Every process stands still, and what is sent to the server lies there unread, until `thaw`."""
        self._engine.output("pause", self.name)

    def thaw(self) -> None:
        """Ends `freeze`; what stood still goes on."""
        self._engine.output("unpause", self.name)

    def disconnect(self) -> None:
        """Takes the server off the network: open connections are closed, new ones refused, until `reconnect`."""
        self._leave_address()
        self._engine.output("network", "disconnect", "bridge", self.name)

    def reconnect(self) -> None:
        """Ends `disconnect`; returns when ssh answers on the same port."""
        with self._lower_addresses_taken():
            self._engine.output("network", "connect", "bridge", self.name)
        _addresses.let_go(self.name)
        self._wait_for_ssh()

    def restart_sshd(self) -> None:
        """sshd is stopped with every session that it holds, and started again. Detached processes go on."""
        self._in_container(
            "sh", "-c", "pkill sshd-session; " + ("systemctl restart ssh" if self._systemd else "pkill -x sshd")
        )
        self._wait_for_ssh()

    def set_clock(self, offset_seconds: int) -> None:
        """The clock of every process that starts from now on is off by so many seconds; 0: right again."""
        preload = (
            "ls /usr/lib/*/faketime/libfaketime.so.1 >/etc/ld.so.preload"
            if offset_seconds
            else "rm -f /etc/ld.so.preload"
        )
        self._in_container("sh", "-c", f"echo {offset_seconds:+d} >/etc/faketimerc; {preload}")

    def stop(self) -> None:
        """Power off, without warning: every process is gone."""
        self._leave_address()
        self._engine.output("kill", self.name)

    def start(self) -> None:
        """Power on; returns when ssh (and Docker, where it is wanted) answers, on the same ports as before."""
        _addresses.keep(self.name)
        with self._lower_addresses_taken():
            self._engine.output("start", self.name)
        _addresses.let_go(self.name)
        self._wait_for_ssh()
        if self._docker:
            _wait_until(self._has_docker, f"docker on {self.name}", timeout_seconds=READY_TIMEOUT_SECONDS)

    # --- the container ---

    def _leave_address(self) -> None:
        _addresses.keep(self.name)
        self._address_before = self._address_of(self.name)

    def _address_of(self, container: str) -> str:
        return self._engine.output("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container)

    @contextmanager
    def _lower_addresses_taken(self) -> Iterator[None]:
        """The engine gives the lowest free address: those below ours that became free are taken meanwhile. Ours is not,
        not for a moment: who had it would refuse what belongs to connections that wait for this server."""
        taken = [f"{NAME_PREFIX}{secrets.token_hex(4)}" for _ in range(self._free_lower_addresses())]
        try:
            for name in taken:
                labels = ("--name", name, "--label", f"{OWNER_LABEL}={owner()}")
                self._engine.output("run", "--detach", *labels, "--entrypoint", "sleep", self._image, "60")
            yield
        finally:
            for name in taken:
                self._engine.run("rm", "--force", name, check=False)

    def _free_lower_addresses(self) -> int:
        if not self._address_before:
            return 0
        shown = "{{range .IPAM.Config}}{{.Gateway}} {{end}}{{range .Containers}}{{.IPv4Address}} {{end}}"
        given = self._engine.output("network", "inspect", "bridge", "--format", shown).split()
        ours, *others = (int(ip_interface(address)) for address in (self._address_before, *given))
        return ours - 1 - min(others) - sum(min(others) < other < ours for other in others)

    def _create(self) -> None:
        if self._docker and not self._systemd:
            raise ValueError("Docker is started by systemd: systemd=True")
        options = [
            *("--name", self.name, "--hostname", self.name, "--label", f"{OWNER_LABEL}={owner()}"),
            *("--env", f"AUTHORIZED_KEY={self.public_key}"),
            *(SYSTEMD_OPTIONS if self._systemd else ("--cap-add", "NET_ADMIN")),
            *(("--volume", DOCKER_FOLDER) if self._docker and DOCKER_FOLDER not in self._tmpfs else ()),
            *(word for folder, mount in self._tmpfs.items() for word in ("--tmpfs", f"{folder}:{mount}")),
        ]
        self.port, self.http_port = free_ports(2)
        ports = ("--publish", f"{self.host}:{self.port}:22", "--publish", f"{self.host}:{self.http_port}:80")
        plain = (START, "systemd" if self._systemd else "plain")
        command = ("sh", "-c", START_WITH_DOCKER) if self._docker else plain
        self._engine.output("create", *options, *ports, self._image, *command)

    def _in_container(self, *command: str) -> str:
        if not self._docker:
            return self._engine.output("exec", self.name, *command)
        # With containers inside, the engine cannot put one more process into its control group.
        process = self._engine.output("inspect", "--format", "{{.State.Pid}}", self.name)
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return subprocess.run(
            as_root("nsenter", "--target", process, *namespaces, "--", *command),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def _wait_for_ssh(self) -> None:
        _wait_until(self._has_ssh_banner, f"ssh on {self.name}", timeout_seconds=READY_TIMEOUT_SECONDS)

    def _has_docker(self) -> bool:
        return self._in_container("sh", "-c", "docker version >/dev/null 2>&1 && echo yes || true") == "yes"

    def _has_ssh_banner(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"


@dataclass(frozen=True)
class Response:
    """An answer over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def sweep(engine: Engine) -> None:
    """Removes the containers of test runs that died without removing them, and their networks and what lay on the
    disks there."""
    for container in _orphans(engine, "ps", "--all", field=".ID"):
        engine.run("rm", "--force", "--volumes", container, check=False)
    for network in _orphans(engine, "network", "ls", field=".Name"):
        engine.run("network", "rm", network, check=False)
        subprocess.run(as_root("rm", "-rf", str(network_folder(network))), check=False)


def network_folder(name: str) -> Path:
    """Where the machines of a network have their disks."""
    return Path(tempfile.gettempdir()) / name


def _orphans(engine: Engine, *listing: str, field: str) -> list[str]:
    """Of what is listed, the field of each whose test run has died."""
    shown = f'{{{{{field}}}}} {{{{.Label "{OWNER_LABEL}"}}}}'
    rows = engine.output(*listing, "--filter", f"label={OWNER_LABEL}", "--format", shown)
    return [name for name, owner in (row.split(" ", 1) for row in rows.splitlines()) if not _is_alive(owner)]


def owner() -> str:
    """This process: its id, and when it started, for ids come round again."""
    pid = os.getpid()
    return f"{pid}-{_started(pid)}"


def _is_alive(owner: str) -> bool:
    pid, _, started = owner.partition("-")
    try:
        return _started(int(pid)) == started
    except OSError:
        return False


def _started(pid: int) -> str:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return after_name.split()[19]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, below the ephemeral range."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind((Vps.host, port))
            ports.append(port)
    return ports


def _wait_for_lock(path: Path, timeout_seconds: float) -> TextIO:
    """The file, locked; after so long it is returned all the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(0.05)
    return file


def _wait_until(is_so: Callable[[], bool], what: str, *, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if is_so():
                return
        time.sleep(0.05)
    raise TimeoutError(f"{what} does not answer after {timeout_seconds} s")
