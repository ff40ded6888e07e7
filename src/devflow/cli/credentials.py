"""Which panel the client commands talk to: `DEVFLOW_URL` and `DEVFLOW_TOKEN`, else what `devflow login` stored."""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from devflow.cli.errors import NOT_ALLOWED, WRONG_USAGE, ClientError

FOLDER: Final = "devflow"
FILE_NAME: Final = "credentials.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """`url` has no slash at its end. `teams`: the tokens for each team that was logged in to there, by its slug."""

    url: str
    token: str
    teams: dict[str, str] = field(default_factory=dict)


def load() -> Credentials:
    """From the environment, else from the file. A stored token is only sent to the panel that it was stored for."""
    stored = _read()
    url = os.environ.get("DEVFLOW_URL", "").rstrip("/") or (stored.url if stored else "")
    token = os.environ.get("DEVFLOW_TOKEN", "") or (stored.token if stored and stored.url == url else "")
    if not url:
        raise ClientError("Which panel? Run `devflow login URL`, or set DEVFLOW_URL and DEVFLOW_TOKEN.", NOT_ALLOWED)
    if not token:
        raise ClientError(f"Not logged in to {url}. Run `devflow login {url}`, or set DEVFLOW_TOKEN.", NOT_ALLOWED)
    return Credentials(checked_url(url), checked_token(token))


def store_for_team(credentials: Credentials, team: str) -> Path:
    """Writes the file, which keeps the tokens for other teams of the same panel."""
    stored = _read()
    others = stored.teams if stored and stored.url == credentials.url else {}
    return store(replace(credentials, teams={**others, team: credentials.token}))


def switch_team(team: str) -> Credentials:
    """The token that was stored for this team is the one in use from now on. Raises ClientError where there is none."""
    stored = _read()
    if stored is None:
        raise ClientError("Not logged in. Run `devflow login URL`.", NOT_ALLOWED)
    if team not in stored.teams:
        known = ", ".join(sorted(stored.teams)) or "none"
        raise ClientError(
            f"There is no token for the team {team!r} here (but for: {known}). Make one in that team, on the page "
            f"Tokens, and run `devflow login {stored.url}` with it.",
            NOT_ALLOWED,
        )
    switched = replace(stored, token=stored.teams[team])
    store(switched)
    return switched


def store(credentials: Credentials) -> Path:
    """Writes the file (0600, in a folder 0700) and returns its path."""
    path = _path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(credentials), file)
    draft.replace(path)
    return path


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises ClientError when it is none."""
    try:
        parts = urlsplit(url)
        is_clean = url.isprintable() and not set("?# ") & set(url)
        is_address = is_clean and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ClientError(
            f"{url!r} is not the address of a panel; it looks like https://panel.example.com.", WRONG_USAGE
        )
    return url.rstrip("/")


def checked_token(token: str) -> str:
    """The token without blanks around it. Raises ClientError when it cannot be one."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ClientError("This is no API token: it looks like dfp_… Make one on the panel's page Tokens.", WRONG_USAGE)
    return token


def _path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / FOLDER / FILE_NAME


def _read() -> Credentials | None:
    path = _path()
    try:
        return Credentials(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise ClientError(f"{path} cannot be read ({error}). Run `devflow login URL` again.", NOT_ALLOWED) from None
