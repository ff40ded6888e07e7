"""`devflow doctor`: looks at this installation, and says how to mend what is wrong."""

import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import typer

from devflow.core.errors import DevflowError
from devflow.embedded import running_url
from devflow.settings.env import Config, load_config

if TYPE_CHECKING:
    from devflow.apps.condition import Condition

LEAST_FREE_BYTES: Final = 1 << 30
MOST_CLOCK_SECONDS: Final = 5.0
MOST_WAITING_SECONDS: Final = 300.0
OLDEST_BACKUP: Final = timedelta(days=7)
SHORTEST_CERTIFICATE: Final = timedelta(days=14)
CONNECT_SECONDS: Final = 5.0
UNREACHED: Final = (
    "Look at proxy, DNS records and firewall. Fine where it is only from this machine that it is not reached."
)
_DATABASE_MEND: Final = "Start `devflow up`, or check DATABASE_URL."
_EMAIL_MEND: Final = "Look at EMAIL_URL: host, port, user and password."


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
    """All findings, one after the other."""
    yield _data_folder(config)
    yield _key(config)
    yield _disk(config)
    yield from _clock()
    yield _https(config)
    yield _port(config)
    if not _is_loopback(config.hostname):
        yield from _public_address(config)
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
        has_database = config.database_url or (config.data_dir / "postgres").exists()
        mend = "Put it back from your backup." if has_database else "Start `devflow up` once: it makes one."
        if config.database_url:
            mend += " Where the database is new: start `devflow up` once, it makes one."
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


def _port(config: Config) -> Finding:
    """Whether the proxy is the only way in."""
    if config.is_https and not _is_loopback(config.host):
        mend = "Set DEVFLOW_HOST to 127.0.0.1, or close the port to all but the proxy in the firewall."
        return Finding("port", "warning", f"{config.host}:{config.port} is open beside the proxy, without https", mend)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104 - compared, not bound
    try:
        socket.create_connection((host, config.port), CONNECT_SECONDS).close()
    except OSError:
        mend = "Start `devflow up` or `devflow web`. Fine on a machine for workers, and where web listens on a socket."
        return Finding("port", "warning", f"nothing listens on {config.host}:{config.port}", mend)
    return Finding("port", "ok", f"the panel listens on {config.host}:{config.port}")


def _is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def _clock() -> Iterator[Finding]:
    """Whether something keeps the time; says nothing where nobody can be asked."""
    try:
        command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    if said.strip() == "no":
        mend = "Switch it on: timedatectl set-ntp true. Logins by code and certificates need the right time."
        yield Finding("clock", "warning", "the time of this machine is not synchronized", mend)


def _public_address(config: Config) -> Iterator[Finding]:
    """What a browser meets at the panel's address."""
    import httpx

    if config.is_https:
        certificate = _certificate(config)
        yield certificate
        if certificate.state == "failed":
            return
    try:
        trusted = ssl.create_default_context()
        answer = httpx.get(f"{config.url}/healthz", timeout=CONNECT_SECONDS, verify=trusted)
    except httpx.HTTPError as error:
        mend = (
            "Look at the proxy, the name's DNS records and the firewall. Fine where only this machine cannot reach it."
        )
        yield Finding("address", "warning", f"{config.url} is not reached from here: {error}", mend)
        return
    if answer.status_code != 200 or '"status"' not in answer.text:
        mend = "Start the panel; else something else answers there: look at DEVFLOW_URL and the proxy."
        yield Finding("address", "failed", f"{config.url}/healthz answers {answer.status_code}, not as a panel", mend)
        return
    yield Finding("address", "ok", f"{config.url} leads to a panel")
    missing = {"content-security-policy", "x-content-type-options"} - answer.headers.keys()
    if missing:
        mend = "The panel sends them: let the proxy pass them on."
        yield Finding("headers", "failed", f"not in the answers: {', '.join(sorted(missing))}", mend)
    if config.is_https and "strict-transport-security" not in answer.headers:
        mend = "Let the proxy set X-Forwarded-Proto, and name it in DEVFLOW_TRUSTED_PROXIES (docs/guide/limits.md)."
        yield Finding("proxy", "failed", "the panel does not know that it is called by https", mend)
    elif config.is_https:
        yield Finding("proxy", "ok", "the panel is told of https, and tells browsers to stay with it")


def _certificate(config: Config) -> Finding:
    parts = urlsplit(config.url)
    address = (config.hostname, parts.port or 443)
    try:
        with (
            socket.create_connection(address, CONNECT_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=config.hostname) as secure,
        ):
            ends = str((secure.getpeercert() or {}).get("notAfter"))
    except ssl.SSLCertVerificationError as error:
        mend = "Renew it (certbot renew), or give the proxy the whole chain."
        return Finding("certificate", "failed", f"browsers refuse it: {error.verify_message}", mend)
    except OSError as error:
        mend = (
            "Look at the proxy, the name's DNS records and the firewall. Fine where only this machine cannot reach it."
        )
        return Finding("certificate", "warning", f"{config.url} is not reached from here: {error}", mend)
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) - datetime.now(UTC)
    found = f"holds for {left.days} more days"
    if left < SHORTEST_CERTIFICATE:
        return Finding("certificate", "warning", found, "It should have been renewed by now: certbot renew.")
    return Finding("certificate", "ok", found)


def _running(config: Config) -> Iterator[Finding]:
    """What only an installation that runs can tell."""
    try:
        parts, aids = _readiness()
    except DevflowError as error:  # what the settings say: then the panel does not start
        yield from _wrong_settings(config, error)
        return
    mends = {
        "database": _DATABASE_MEND,
        "queue": "Start `devflow up`: it brings the database up to date.",
        "worker": "Start `devflow up` or `devflow worker`, and look at what it prints.",
    }
    for check, state in parts.items():
        if state != "ok":
            yield Finding(check, "failed", state, mends[check])
    yield from _aids(aids)
    if parts["database"] == "ok":
        yield from _working()


def _wrong_settings(config: Config, error: DevflowError) -> Iterator[Finding]:
    """What can be told where the panel's own modules cannot be loaded. The master key is told of already."""
    from devflow.core.crypto import MasterKeyError

    found = [_bare_database(config), *_wrong_email(config)]
    yield from found
    if not isinstance(error, MasterKeyError) and all(finding.state == "ok" for finding in found):
        yield Finding("settings", "failed", str(error), "Change it in the environment or in devflow.toml.")


def _bare_database(config: Config) -> Finding:
    import psycopg

    from devflow.settings.database import database_settings

    try:
        database_settings(config, connections=1)
        url = config.database_url or running_url(config.data_dir) or ""
        with psycopg.connect(url, connect_timeout=int(CONNECT_SECONDS)) as connection:
            version = connection.info.server_version // 10_000
    except (DevflowError, psycopg.Error) as error:
        return Finding("database", "failed", str(error).strip(), _DATABASE_MEND)
    return Finding(
        "database", "ok", f"PostgreSQL {version} answers; what is in it is looked at when the rest is mended"
    )


def _wrong_email(config: Config) -> Iterator[Finding]:
    from devflow.settings.email import email_settings

    try:
        email_settings(config.email_url)
    except DevflowError as error:
        yield Finding("e-mail", "failed", str(error), _EMAIL_MEND)


def _working() -> Iterator[Finding]:
    from devflow.apps.accounts.keys import master_key_compare
    from devflow.apps.condition import condition

    try:
        master_key_compare()
    except DevflowError as error:
        yield Finding("master key", "failed", str(error), "See docs/guide/keys.md.")
    now = condition()
    yield Finding("database", "ok", f"PostgreSQL {now.database_version}, up to date")
    yield from (_database_clock(now), _queue(now))
    if now.workers:
        yield Finding("worker", "ok", f"{now.workers} at work")
    yield from (_servers(now), _backup(now), _alerts(now), _email())


def _database_clock(now: "Condition") -> Finding:
    offset = abs(now.clock_offset_seconds)
    if offset > MOST_CLOCK_SECONDS:
        mend = "Let both machines keep their time: timedatectl set-ntp true."
        return Finding("clock", "failed", f"{offset:.0f} s apart from the database's", mend)
    return Finding("clock", "ok", "the same as the database's")


def _queue(now: "Condition") -> Finding:
    found = f"{now.jobs_waiting} jobs wait"
    if now.job_waiting_seconds > MOST_WAITING_SECONDS:
        mend = "Look at what the workers print, or start more of them: `devflow worker`."
        return Finding("queue", "warning", f"{found}, the oldest for {now.job_waiting_seconds:.0f} s", mend)
    return Finding("queue", "ok", found)


def _servers(now: "Condition") -> Finding:
    if now.offline_servers:
        names = ", ".join(now.offline_servers[:10]) + (", …" if len(now.offline_servers) > 10 else "")
        found = f"{len(now.offline_servers)} of {now.servers} cannot be reached: {names}"
        return Finding("servers", "warning", found, "See why: devflow servers check NAME.")
    return Finding("servers", "ok", f"none of {now.servers} is known to be away")


def _backup(now: "Condition") -> Finding:
    mend = (
        "devflow admin backup FILE, with a passphrase in DEVFLOW_BACKUP_PASSPHRASE, best by a timer; and keep the file"
        " on another machine."
    )
    if now.backed_up_at is None:
        return Finding("backup", "warning", "the panel was never backed up", mend)
    age = datetime.now(UTC) - now.backed_up_at
    found = f"the panel was backed up {age.days} days ago"
    return Finding("backup", "warning", found, mend) if age > OLDEST_BACKUP else Finding("backup", "ok", found)


def _alerts(now: "Condition") -> Finding:
    if not now.channels:
        mend = "Make a channel on the page Channels, or by devflow channels add."
        return Finding("alerts", "warning", "nobody is told of what fails", mend)
    return Finding("alerts", "ok", f"{now.channels} channels tell of what fails")


def _email() -> Finding:
    """Connects and logs in, and sends nothing."""
    from django.conf import settings
    from django.core.mail import get_connection

    if settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"):
        return Finding("e-mail", "ok", "not used: EMAIL_URL is not set")
    host = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with get_connection():
            return Finding("e-mail", "ok", f"{host} lets the panel in")
    except OSError as error:  # that of smtplib among them
        return Finding("e-mail", "failed", f"{host}: {error}", _EMAIL_MEND)


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
