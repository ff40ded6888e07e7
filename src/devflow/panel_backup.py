"""The panel's own backup: its database and master key in one file, encrypted, and a panel made from it again.

The file is a ZIP of age files (age-encryption.org), so that it can be read without the panel: `identity.age` is opened
by the passphrase and opens the others. `database.dump.age` holds what pg_dump writes, in its custom format.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import psycopg
import pyrage
from psycopg.conninfo import conninfo_to_dict
from pyrage import passphrase as by_passphrase
from pyrage import x25519

import devflow
from devflow.core.crypto import parse_master_keys
from devflow.core.errors import ConflictError, DevflowError, InvalidError
from devflow.embedded import EmbeddedPostgres, program, running_url
from devflow.settings.env import FILE_NAME, Config
from devflow.settings.keys import MasterKeys
from devflow.supervisor import claimed

FORMAT: Final = 1
SHORTEST_PASSPHRASE: Final = 12
ABANDONED_SECONDS: Final = 24 * 3600
"""An unfinished file that nobody has written to for so long is of a backup that was killed."""
_README: Final = """\
A backup of DevFlow Pro. To restore it: devflow admin restore THIS-FILE

Without the panel, with age and PostgreSQL's programs:
  age --decrypt --output identity.txt identity.age            (asks for the passphrase)
  age --decrypt --identity identity.txt --output master.key master.key.age
  age --decrypt --identity identity.txt database.dump.age | pg_restore --no-owner --dbname DATABASE
"""
# Parameters of a connection, as libpq reads them from the environment: a password must not be seen among the arguments.
_VARIABLES: Final = {
    **{"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"},
    **{"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"},
}


def passphrase_check(passphrase: str) -> str:
    """Raises InvalidError."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidError(
            f"Give a passphrase of {SHORTEST_PASSPHRASE} characters at least: the backup holds the master key."
        )
    return passphrase


def target_check(path: Path) -> None:
    """Whether a backup may be put there: nothing is replaced but a file. Raises InvalidError, OSError."""
    if not path.name or (path.exists() and not path.is_file()):
        raise InvalidError(f"A backup cannot be put in the place of '{path}'. Give the name of a file.")


@contextmanager
def panel_database(config: Config) -> Iterator[str]:
    """The address of the panel's database, which is started meanwhile where it is the embedded one and does not run."""
    url = config.database_url or running_url(config.data_dir)
    if url:
        yield url
        return
    if not (config.data_dir / "postgres").exists():
        raise InvalidError(f"There is no panel in {config.data_dir}. Set DEVFLOW_DATA_DIR to its folder.")
    with claimed(config.data_dir, "devflow admin backup"):
        postgres = EmbeddedPostgres(config.data_dir)
        try:
            yield postgres.start()
        finally:
            postgres.stop()


def backup_write(config: Config, url: str, path: Path, passphrase: str) -> int:
    """Writes the backup and returns its size in bytes; a file of that name is replaced when it is whole.

    Raises DevflowError, OSError (with the name of this file).
    """
    identity = x25519.Identity.generate()
    keys = "".join(f"{key.hex()}\n" for key in MasterKeys(config).now())
    manifest = {"format": FORMAT, "version": devflow.__version__, "made_at": datetime.now(UTC).isoformat()}
    members = {"manifest.json": json.dumps(manifest).encode(), "master.key": keys.encode()}
    with contextlib.suppress(FileNotFoundError):
        members[FILE_NAME] = (config.data_dir / FILE_NAME).read_bytes()

    with _unfinished(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("README.txt", _README)
        archive.writestr("identity.age", by_passphrase.encrypt(str(identity).encode(), passphrase))
        for name, content in members.items():
            archive.writestr(f"{name}.age", pyrage.encrypt(content, [identity.to_public()]))
        with archive.open("database.dump.age", "w", force_zip64=True) as member:
            _dump(url, member, identity.to_public())
    return path.stat().st_size


def backup_restore(config: Config, path: Path, passphrase: str) -> dict[str, Any]:
    """Makes a panel in an empty data folder (and, with DATABASE_URL, an empty database) from a backup.

    Returns the backup's manifest. Interrupted, it leaves nothing that is taken for a panel, and may be run again.
    Raises InvalidError, ConflictError, DevflowError, OSError.
    """
    with claimed(config.data_dir, "devflow admin restore"), _opened(path, passphrase) as (archive, identity):
        manifest: dict[str, Any] = json.loads(_member(archive, identity, "manifest.json"))
        if manifest["format"] != FORMAT:
            raise InvalidError(
                f"The backup is of DevFlow {manifest['version']}: restore it with that version or later."
            )
        files = {config.key_file: _member(archive, identity, "master.key")}
        _refuse_used(config)
        _refuse_other_key(config, files[config.key_file])
        if config.master_key is not None or config.key_command is not None:
            files.clear()  # it is kept elsewhere
        if f"{FILE_NAME}.age" in archive.namelist():
            files[config.data_dir / FILE_NAME] = _member(archive, identity, FILE_NAME)
        # The database comes last: with it there is a panel.
        with _written({path: content for path, content in files.items() if not path.exists()}):
            if config.database_url:
                _load(archive, identity, config.database_url)
            else:
                _load_embedded(config.data_dir, archive, identity)
    return manifest


# --- the database -----------------------------------------------------------------------------------------------------


def _dump(url: str, member: IO[bytes], recipient: x25519.Recipient) -> None:
    command = [str(program("pg_dump")), "--format=custom", "--no-owner", "--no-privileges", "--no-password"]
    with subprocess.Popen(
        command, env=_environment(url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        with _read_aside(process.stderr) as said:
            try:
                pyrage.encrypt_io(process.stdout, member, [recipient])
            except BaseException:
                process.kill()
                raise
        code = process.wait()
    if code:
        raise DevflowError(f"The database cannot be read: {_last(said)}")


def _load(archive: zipfile.ZipFile, identity: x25519.Identity, url: str) -> None:
    """In one transaction: an end before the last byte leaves the database as it was."""
    command = [str(program("pg_restore")), "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    database = conninfo_to_dict(url).get("dbname", "")
    with (
        archive.open("database.dump.age") as member,
        subprocess.Popen(
            [*command, "--no-password", f"--dbname={database}"],
            env=_environment(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process,
        _read_aside(process.stderr) as said,
    ):
        assert process.stdin is not None
        problem = ""
        try:
            pyrage.decrypt_io(member, process.stdin, [identity])
            process.stdin.close()
        except (pyrage.DecryptError, zipfile.BadZipFile, OSError) as error:
            problem = f"The backup is damaged: {error}"
            process.kill()
        code = process.wait()
    if code:
        raise DevflowError(f"The database cannot be restored. {_last(said) or problem}")


def _load_embedded(data_dir: Path, archive: zipfile.ZipFile, identity: x25519.Identity) -> None:
    """Into a cluster beside, which is put in its place when all is there."""
    staging = data_dir / "restoring"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(staging)
    try:
        try:
            _load(archive, identity, postgres.start())
        finally:
            postgres.stop(timeout_seconds=30)
        postgres.cluster.rename(data_dir / postgres.cluster.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _environment(url: str) -> dict[str, str]:
    given = conninfo_to_dict(url)
    unknown = given.keys() - _VARIABLES.keys()
    if unknown:
        raise InvalidError(f"DATABASE_URL has {', '.join(sorted(unknown))}, which a backup cannot pass on.")
    return {"PATH": os.defpath, **{_VARIABLES[name]: str(value) for name, value in given.items()}}


# --- the file ---------------------------------------------------------------------------------------------------------


@contextmanager
def _unfinished(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` for us alone, which takes its place when it is whole."""
    _remove_abandoned(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb", opener=_private_opener) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _remove_abandoned(path: Path) -> None:
    """What killed backups to this file have left. One that goes on is written to all the time."""
    with contextlib.suppress(OSError):
        for entry in path.parent.iterdir():
            is_part = entry.name.startswith(f".{path.name}.") and entry.name.endswith(".part")
            if is_part and time.time() - entry.stat().st_mtime > ABANDONED_SECONDS:
                entry.unlink()


@contextmanager
def _opened(path: Path, passphrase: str) -> Iterator[tuple[zipfile.ZipFile, x25519.Identity]]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise InvalidError(f"{path} is no backup of the panel, or is cut off.") from None
    with archive:
        try:
            identity = by_passphrase.decrypt(archive.read("identity.age"), passphrase)
        except (KeyError, zipfile.BadZipFile):
            raise InvalidError(f"{path} is no backup of the panel.") from None
        except pyrage.DecryptError:
            raise InvalidError("The passphrase does not open this backup.") from None
        yield archive, x25519.Identity.from_str(identity.decode())


def _member(archive: zipfile.ZipFile, identity: x25519.Identity, name: str) -> bytes:
    try:
        content: bytes = pyrage.decrypt(archive.read(f"{name}.age"), [identity])
    except (KeyError, zipfile.BadZipFile, pyrage.DecryptError) as error:
        raise InvalidError(f"The backup is damaged: {name} cannot be read ({error}).") from None
    return content


# --- what must be so before -------------------------------------------------------------------------------------------


def _refuse_used(config: Config) -> None:
    """Nothing of a panel that is there is ever overwritten."""
    cluster = config.data_dir / "postgres"
    if not config.database_url and cluster.exists():
        raise ConflictError(f"There is a panel already: {cluster}. Restore into an empty folder (DEVFLOW_DATA_DIR).")
    if config.database_url:
        with psycopg.connect(config.database_url, connect_timeout=10) as connection:
            tables = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchone()
        if tables and tables[0]:
            raise ConflictError("The database of DATABASE_URL is not empty. Make a new one for the panel.")


def _refuse_other_key(config: Config, keys: bytes) -> None:
    """A key that is there, or comes from outside, must be the one that the backup's secrets are sealed with."""
    if config.master_key is None and config.key_command is None and not config.key_file.exists():
        return
    present = MasterKeys(config)
    if not set(parse_master_keys(keys.decode(), "the backup")) <= set(present.now()):
        raise ConflictError(f"The master key {present.where} is not the backup's. Put that one there, or none.")


# --- small things -----------------------------------------------------------------------------------------------------


@contextmanager
def _read_aside(stream: IO[bytes] | None) -> Iterator[list[bytes]]:
    """What the stream holds, read by a thread, so that nobody has to wait for who reads it; whole at the end."""
    assert stream is not None
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(stream.read()))
    reader.start()
    try:
        yield said
    finally:
        reader.join()


def _last(said: list[bytes]) -> str:
    lines = b"".join(said).decode(errors="replace").strip().splitlines()
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "")


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _written(files: Mapping[Path, bytes]) -> Iterator[None]:
    """The files are there; where what follows fails they are gone again."""
    try:
        for path, content in files.items():
            with open(path, "xb", opener=_private_opener) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        yield
    except BaseException:
        for path in files:
            path.unlink(missing_ok=True)
        raise
