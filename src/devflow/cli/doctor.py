"""`devflow doctor`: looks at this installation, and says how to mend what is wrong."""

import ipaddress
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal

import typer

from devflow.core.errors import DevflowError
from devflow.settings.env import Config, load_config

LEAST_FREE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `mend` says what to do, and is empty when all is well."""

    check: str
    state: Literal["ok", "warning", "failed"]
    found: str
    mend: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False) -> None:
    """Check this installation; exit status 1 when something does not work."""
    findings = list(examine(load_config()))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.check:12} {finding.found}")
            if finding.mend:
                print(f"{'':8} {'':12} → {finding.mend}")
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def examine(config: Config) -> Iterator[Finding]:
    """All findings, one after the other; the database is asked last."""
    yield _data_folder(config)
    yield _key(config)
    yield _disk(config)
    yield _https(config)
    yield from _running(config)


def _data_folder(config: Config) -> Finding:
    if not config.data_dir.exists():
        return Finding("data folder", "failed", f"{config.data_dir} is not there", "Start `devflow up` once.")
    mode = config.data_dir.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("data folder", "failed", f"others may enter (mode {mode:04o})", f"chmod 700 {config.data_dir}")
    return Finding("data folder", "ok", f"{config.data_dir} is private")


def _key(config: Config) -> Finding:
    from devflow.settings.keys import MasterKeys  # slow to load, and no other command needs it

    is_file = config.master_key is None and config.key_command is None
    if is_file and not config.key_file.exists():
        mend = "Start `devflow up` once, or put the file back from your backup."
        return Finding("master key", "failed", f"{config.key_file} is not there", mend)
    try:
        keys = MasterKeys(config)
    except DevflowError as error:
        return Finding("master key", "failed", str(error), "See docs/guide/keys.md.")
    found = f"{keys.where} is private; keep a copy of it elsewhere" if is_file else f"read {keys.where}"
    return Finding("master key", "ok", found)


def _disk(config: Config) -> Finding:
    folder = next(path for path in (config.data_dir, *config.data_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "failed", found, f"Make room on the disk of {folder}.")
    return Finding("disk", "ok", found)


def _https(config: Config) -> Finding:
    if config.is_https:
        return Finding("https", "ok", config.url)
    if _is_loopback(config.hostname):
        return Finding("https", "ok", f"{config.url} is reached from this machine only")
    mend = "Put a proxy with a certificate before the panel, and set DEVFLOW_URL and DEVFLOW_TRUSTED_PROXIES."
    return Finding("https", "warning", f"{config.url}: passwords travel unencrypted", mend)


def _is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def _running(config: Config) -> Iterator[Finding]:
    """What only an installation that runs can tell."""
    aids: dict[str, str] = {}
    try:
        parts, aids = _readiness()
    except DevflowError as error:
        parts = {"database": str(error)}
    mends = {
        "database": "Start `devflow up`, or check DATABASE_URL.",
        "queue": "Start `devflow up`: it brings the database up to date.",
        "worker": "Start `devflow up` or `devflow worker`, and look at what it prints.",
    }
    for check, state in parts.items():
        if state == "ok":
            yield Finding(check, "ok", "works")
        else:
            yield Finding(check, "failed", state, mends[check])
    yield from _aids(aids)


def _aids(states: dict[str, str]) -> Iterator[Finding]:
    """What the panel works without, only more slowly."""
    mends = {
        "redis": "Start Redis, or check REDIS_URL.",
        "replica": "Look at the replica's log and pg_stat_replication of the primary, or check DATABASE_REPLICA_URL.",
    }
    for check, state in states.items():
        if state == "ok":
            yield Finding(check, "ok", "works")
        else:
            yield Finding(check, "warning", state, mends[check])


def _readiness() -> tuple[dict[str, str], dict[str, str]]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()
    from devflow.apps.readiness import aids, readiness

    parts = readiness()
    return parts, aids(wait=True) if parts["database"] == "ok" else {}
