"""Machines of a panel that runs on several: each has an address and a host name of its own, and can be lost.

A machine is a container that only sleeps; what runs on it are processes of this machine in the container's network.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from devflow.embedded import ACCOUNT, program

from .docker_engine import Engine, as_root
from .panel import SOURCE, wait_until
from .vps import NAME_PREFIX, OWNER_LABEL, Vps, network_folder, owner

PASSWORD = "streaming"


class Machine:
    """`name` is its host name; what its processes print is in `log_file`."""

    def __init__(self, network: Network, name: str) -> None:
        self.name, self._network = name, network
        self.container = f"{network.name}-{name}"
        self.log_file = network.folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        engine = network.engine
        own = ("--name", self.container, "--hostname", name, "--label", f"{OWNER_LABEL}={owner()}")
        engine.run("run", "--detach", *own, "--network", network.name, "--entrypoint", "sleep", network.image, "inf")
        self._pid = engine.output("inspect", "--format", "{{.State.Pid}}", self.container)
        self.address = network.address(self.container)

    def start(self, *command: str, uid: int | None = None, environ: Mapping[str, str] | None = None) -> None:
        """Starts the process of this machine; it has nothing but this in its environment."""
        variables = [f"{key}={value}" for key, value in {"PATH": os.environ["PATH"], **(environ or {})}.items()]
        user = () if uid is None else (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        ends_with_us = ("setpriv", "--pdeathsig", "KILL", *user)
        entered = as_root("nsenter", "--target", self._pid, "--net", "--uts", "--", *ends_with_us, "env", "-i")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*entered, *variables, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, timeout_seconds: float = 15) -> int:
        """Asks its process to end, and waits until it has; returns its exit code."""
        assert self.process
        self._signal(signal.SIGTERM)
        return self.process.wait(timeout_seconds)

    def kill(self) -> None:
        """Its process ends with -9; the machine itself says so to all that are connected to it."""
        if self.process and self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait(10)

    def lose(self) -> None:
        """The machine is gone without a word: packets to it vanish, and its process is no more."""
        self._network.engine.run("network", "disconnect", "--force", self._network.name, self.container)
        self.kill()

    def bring_back(self) -> None:
        """Its address is there again; nothing runs on it."""
        self._network.engine.run("network", "connect", "--ip", self.address, self._network.name, self.container)

    def output(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _signal(self, signum: signal.Signals) -> None:
        assert self.process
        subprocess.run(as_root("kill", f"-{signum.value}", "--", f"-{self.process.pid}"), check=False)


class Network:
    """Where the machines reach each other; `folder` is open to all users of this machine."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine, self.image = engine, image
        self.name = f"{NAME_PREFIX}{secrets.token_hex(4)}"
        self.machines: list[Machine] = []
        # containers keep their addresses only in a network whose range was chosen
        for _ in range(20):
            subnet = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}.0/24"
            own = ("--label", f"{OWNER_LABEL}={owner()}", "--subnet", subnet)
            if engine.run("network", "create", *own, self.name, check=False).returncode == 0:
                break
        else:
            raise RuntimeError("no free range of addresses for a network")
        self.folder = network_folder(self.name)
        self.folder.mkdir()
        self.folder.chmod(0o755)

    def machine(self, name: str) -> Machine:
        machine = Machine(self, name)
        self.machines.append(machine)
        return machine

    def join(self, vps: Vps) -> None:
        """The test server is reached by its address in this network from now on, from here too."""
        self.engine.run("network", "connect", self.name, vps.name)
        vps.host, vps.port, vps.http_port = self.address(vps.name), 22, 80
        vps.known_hosts_file.write_text(f"{vps.host} {vps.host_key}\n")

    def address(self, container: str) -> str:
        shown = f'{{{{(index .NetworkSettings.Networks "{self.name}").IPAddress}}}}'
        return self.engine.output("inspect", "--format", shown, container)

    def close(self, *guests: Vps) -> None:
        for machine in self.machines:
            machine.kill()
            self.engine.run("rm", "--force", machine.container, check=False)
        for guest in guests:
            self.engine.run("network", "disconnect", "--force", self.name, guest.name, check=False)
        self.engine.run("network", "rm", self.name, check=False)
        subprocess.run(as_root("rm", "-rf", str(self.folder)), check=False)


@contextmanager
def network(engine: Engine, image: str, *guests: Vps) -> Iterator[Network]:
    made = Network(engine, image)
    try:
        yield made
    finally:
        made.close(*guests)


class Postgres:
    """PostgreSQL on a machine, for all others of its network: a primary, or a streaming replica of one (`of`)."""

    SETTINGS: Mapping[str, str] = {
        "listen_addresses": "*",
        "unix_socket_directories": "",
        "fsync": "off",  # nothing here has to outlive this machine
        "max_connections": "200",
        "shared_buffers": "32MB",
        "wal_keep_size": "64MB",
        "hot_standby_feedback": "on",
    }

    def __init__(self, machine: Machine, of: Postgres | None = None, **settings: str) -> None:
        self.machine = machine
        self._settings = {**self.SETTINGS, **settings}
        program("postgres")  # makes the account
        self.uid = pwd.getpwnam(ACCOUNT).pw_uid if os.geteuid() == 0 else os.geteuid()
        self.data = machine._network.folder / f"postgres-{machine.name}"
        self.data.mkdir(mode=0o700)
        shutil.chown(self.data, self.uid)
        if of:
            origin = f"host={of.machine.address} user=devflow password={PASSWORD}"
            self._run("pg_basebackup", "-D", str(self.data), "-d", origin, "-R", "-X", "stream", "-c", "fast")
        else:
            self._run("initdb", "-D", str(self.data), "-U", "devflow", "--auth=trust", "-E", "UTF8", "--locale=C")
            (self.data / "pg_hba.conf").write_text(
                "local all all trust\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n"
            )
            sql = f"ALTER USER devflow PASSWORD '{PASSWORD}';\nCREATE DATABASE devflow;\n"
            self._run("postgres", "--single", "-D", str(self.data), "template1", stdin=sql)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://devflow:{PASSWORD}@{self.machine.address}:5432/devflow"

    def start(self) -> None:
        options = [item for name, value in self._settings.items() for item in ("-c", f"{name}={value}")]
        self.machine.start(str(program("postgres")), "-D", str(self.data), *options, uid=self.uid)
        wait_until(self._answers, 30, what=self.machine.output)

    def promote(self) -> None:
        """The replica is a primary from now on."""
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute("SELECT pg_promote()")

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def _run(self, name: str, *arguments: str, stdin: str = "") -> None:
        user = ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        done = subprocess.run(
            as_root(*user, str(program(name)), *arguments), input=stdin, capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr


def panel_environ(source: Path = SOURCE, **settings: str) -> dict[str, str]:
    """What a process of the panel finds in its environment; `source` is the checkout that it is of."""
    return {"PYTHONPATH": str(source / "src"), "LANG": "C.UTF-8", **settings}


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", name, *arguments]
