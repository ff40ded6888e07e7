"""The settings a user may give: from the environment, else from `devflow.toml` in the data folder, else the default."""

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from devflow.core.errors import DevflowError

FILE_NAME: Final = "devflow.toml"
KEY_VARIABLE: Final = "DEVFLOW_MASTER_KEY"
"""Has the master key itself. It is no setting of the file: a key in a file is what `DEVFLOW_KEY_FILE` is for."""


class ConfigError(DevflowError):
    """A setting is wrong or missing; the message is one line that names it and says what is wanted."""


@dataclass(frozen=True, slots=True)
class Config:
    """What `load_config` read.

    `data_dir`: folder of everything the panel keeps (`DEVFLOW_DATA_DIR`).
    `database_url`: `postgresql://…`, or None for the embedded PostgreSQL (`DATABASE_URL`).
    `database_replica_url`: a streaming replica of it, from which lists and searches are read
    (`DATABASE_REPLICA_URL`); see docs/guide/several-machines.md.
    `url`: public address of the panel, without a slash at its end (`DEVFLOW_URL`).
    `host`, `port`: where `devflow web` listens (`DEVFLOW_HOST`, `DEVFLOW_PORT`).
    `key_file`: the file of the master key (`DEVFLOW_KEY_FILE`); or `key_command`, which prints it
    (`DEVFLOW_KEY_COMMAND`), or `master_key` itself (`DEVFLOW_MASTER_KEY`): see settings/keys.py.
    `redis_url`: `redis://…`, `rediss://…` or `unix://…`: the cache, and sessions for quick reading (`REDIS_URL`).
    `email_url`, `sentry_dsn`: None when not used (`EMAIL_URL`, `SENTRY_DSN`).
    `trusted_proxies`: addresses and networks whose `X-Forwarded-…` is believed (`DEVFLOW_TRUSTED_PROXIES`).
    `allow_private_addresses`: private networks that channels and providers may be reached in
    (`DEVFLOW_ALLOW_PRIVATE_ADDRESSES`); by default none: the panel must not be a way into its own network.
    `api_log_days`: how long it is remembered which requests the API answered, 0: not at all (`DEVFLOW_API_LOG_DAYS`).
    `keep_deployments`, `keep_days`: of each project the newest deployments, and all that are younger, are kept with
    their logs (`DEVFLOW_KEEP_DEPLOYMENTS`, `DEVFLOW_KEEP_DAYS`); of what runs, waits, or can be rolled back to, all.
    `api_limit`: requests to the API in a minute with one token, or by one person in the browser; 0 for any number
    (`DEVFLOW_API_LIMIT`). `api_limit_nobody`: the same from one address without a valid token
    (`DEVFLOW_API_LIMIT_NOBODY`).
    `cors_origins`: origins whose scripts may use the API from a browser (`DEVFLOW_CORS_ORIGINS`).
    `allowed_networks`: from where the panel may be used, none for everywhere (`DEVFLOW_ALLOWED_NETWORKS`).
    `metrics_token`: lets in who reads `/metrics` from another machine (`DEVFLOW_METRICS_TOKEN`); without it nobody.
    `styleguide`: shows the parts of the pages at `/styleguide` (`DEVFLOW_STYLEGUIDE=yes`), for who works on them.
    """

    data_dir: Path
    database_url: str | None
    url: str
    host: str
    port: int
    key_file: Path
    redis_url: str | None
    email_url: str | None
    sentry_dsn: str | None
    trusted_proxies: tuple[str, ...]
    allow_private_addresses: tuple[str, ...] = ()
    key_command: str | None = None
    master_key: str | None = field(default=None, repr=False)
    api_log_days: int = 30
    keep_deployments: int = 50
    keep_days: int = 183
    api_limit: int = 3000
    api_limit_nobody: int = 300
    cors_origins: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    metrics_token: str | None = field(default=None, repr=False)
    styleguide: bool = False
    database_replica_url: str | None = None

    @property
    def is_https(self) -> bool:
        return self.url.startswith("https://")

    @property
    def hostname(self) -> str:
        """The public host name, without port or brackets."""
        return urlsplit(self.url).hostname or ""


def load_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read all settings. Raises `ConfigError` for a value that cannot be used and for an unknown key in the file."""
    environ = os.environ if environ is None else environ
    data_dir = Path(environ.get("DEVFLOW_DATA_DIR") or "data").expanduser().absolute()
    values = _from_file(data_dir / FILE_NAME) | _from_environment(environ)
    master_key = environ.get(KEY_VARIABLE) or None
    _refuse_several_keys(values, master_key)
    host: str = values.get("host", "127.0.0.1")
    port: int = values.get("port", 8080)
    return Config(
        data_dir=data_dir,
        database_url=values.get("database_url"),
        url=values.get("url", _local_url(host, port)),
        host=host,
        port=port,
        key_file=values.get("key_file", data_dir / "master.key"),
        key_command=values.get("key_command"),
        master_key=master_key,
        redis_url=values.get("redis_url"),
        email_url=values.get("email_url"),
        sentry_dsn=values.get("sentry_dsn"),
        trusted_proxies=values.get("trusted_proxies", ()),
        allow_private_addresses=values.get("allow_private_addresses", ()),
        api_log_days=values.get("api_log_days", 30),
        keep_deployments=values.get("keep_deployments", 50),
        keep_days=values.get("keep_days", 183),
        api_limit=values.get("api_limit", 3000),
        api_limit_nobody=values.get("api_limit_nobody", 300),
        cors_origins=values.get("cors_origins", ()),
        allowed_networks=values.get("allowed_networks", ()),
        metrics_token=values.get("metrics_token"),
        styleguide=values.get("styleguide", False),
        database_replica_url=values.get("database_replica_url"),
    )


def _refuse_several_keys(values: Mapping[str, Any], master_key: str | None) -> None:
    """Only one of the ways may be taken: nobody should have to find out which one wins."""
    given = [_FIELDS[name][0] for name in ("key_file", "key_command") if name in values]
    given += [KEY_VARIABLE] if master_key else []
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are both set: choose one way to give the master key.")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Parsed values by field name; an empty variable counts as absent."""
    return {
        field: _parse(variable, parse, environ[variable])
        for field, (variable, parse) in _FIELDS.items()
        if environ.get(variable)
    }


def _from_file(path: Path) -> dict[str, Any]:
    """Parsed values of the settings file by field name; empty when there is no file."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if unknown := sorted(raw.keys() - _FIELDS.keys()):
        raise ConfigError(f"{path}: unknown setting {', '.join(unknown)} (known: {', '.join(_FIELDS)})")
    return {field: _parse(f"{path}: {field}", _FIELDS[field][1], value) for field, value in raw.items()}


def _parse(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from error


def _local_url(host: str, port: int) -> str:
    """The address of a panel that was given none: loopback when it listens everywhere."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value.strip()


def _url(value: Any) -> str:
    text = _text(value).rstrip("/")
    parts = urlsplit(text)
    if (
        parts.port == 0
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f"must be an address like https://panel.example.org, not {text!r}")
    return text


def _database_url(value: Any) -> str:
    text = _text(value)
    if urlsplit(text).scheme not in ("postgresql", "postgres"):
        raise ValueError("must start with postgresql:// (no other database is supported)")
    return text


def _redis_url(value: Any) -> str:
    text = _text(value)
    if urlsplit(text).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return text


def _port(value: Any) -> int:
    number = int(value) if isinstance(value, str | int) and str(value).isdecimal() else 0
    if not 1 <= number <= 65535:
        raise ValueError(f"must be a number from 1 to 65535, not {value!r}")
    return number


def _days(value: Any) -> int:
    number = int(value) if isinstance(value, str | int) and str(value).isdecimal() else -1
    if not 0 <= number <= 3650:
        raise ValueError(f"must be a number of days from 0 to 3650, not {value!r}")
    return number


def _count(value: Any) -> int:
    number = int(value) if isinstance(value, str | int) and str(value).isdecimal() else -1
    if not 0 <= number <= 1_000_000:
        raise ValueError(f"must be a number from 0 to 1000000, not {value!r}")
    return number


def _yes(value: Any) -> bool:
    if value not in ("yes", "no", True, False):
        raise ValueError(f"must be yes or no, not {value!r}")
    return value in ("yes", True)


def _origins(value: Any) -> tuple[str, ...]:
    """Origins as browsers send them, from a list or separated by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of origins like https://app.example.org")
    if any("*" in str(item) for item in items):
        raise ValueError("must name each origin; there are no patterns")
    return tuple(_url(item).lower() for item in items if item)


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser().absolute()


def _networks(value: Any) -> tuple[str, ...]:
    """Addresses and networks, from a list or separated by commas."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of addresses or networks")
    return tuple(str(ipaddress.ip_network(item, strict=False)) for item in items if item)


# Field → its environment variable and the function that checks a value; the same names are the keys of the file.
_FIELDS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "database_url": ("DATABASE_URL", _database_url),
    "url": ("DEVFLOW_URL", _url),
    "host": ("DEVFLOW_HOST", _text),
    "port": ("DEVFLOW_PORT", _port),
    "key_file": ("DEVFLOW_KEY_FILE", _path),
    "key_command": ("DEVFLOW_KEY_COMMAND", _text),
    "redis_url": ("REDIS_URL", _redis_url),
    "email_url": ("EMAIL_URL", _text),
    "sentry_dsn": ("SENTRY_DSN", _text),
    "trusted_proxies": ("DEVFLOW_TRUSTED_PROXIES", _networks),
    "allow_private_addresses": ("DEVFLOW_ALLOW_PRIVATE_ADDRESSES", _networks),
    "api_log_days": ("DEVFLOW_API_LOG_DAYS", _days),
    "keep_deployments": ("DEVFLOW_KEEP_DEPLOYMENTS", _count),
    "keep_days": ("DEVFLOW_KEEP_DAYS", _days),
    "api_limit": ("DEVFLOW_API_LIMIT", _count),
    "api_limit_nobody": ("DEVFLOW_API_LIMIT_NOBODY", _count),
    "cors_origins": ("DEVFLOW_CORS_ORIGINS", _origins),
    "allowed_networks": ("DEVFLOW_ALLOWED_NETWORKS", _networks),
    "metrics_token": ("DEVFLOW_METRICS_TOKEN", _text),
    "styleguide": ("DEVFLOW_STYLEGUIDE", _yes),
    "database_replica_url": ("DATABASE_REPLICA_URL", _database_url),
}
