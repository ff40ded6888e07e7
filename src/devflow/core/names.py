"""What may be called how. Every name from outside that becomes a path, a ref or a unit passes through here."""

from __future__ import annotations

import os
import re
import time
import uuid
from urllib.parse import urlsplit

from devflow.core.errors import InvalidError

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_TAKEN_VARIABLES = (
    ("PATH", "without the right one no command is found; put it before the command: PATH=/opt/node/bin:$PATH npm ci"),
    ("HOME|USER|LOGNAME|SHELL|PWD|OLDPWD", "the server sets it for its login user, and programs rely on it"),
    ("IFS|CDPATH|OPTIND|PS4", "it would change how the shell reads every command"),
    ("UID|EUID|PPID|GROUPS|SHELLOPTS|BASHOPTS|BASH_.*", "the shell does not let it be set, or runs what it says"),
    ("LD_.*", "it would load other code into every program; put it before the command that needs it"),
    ("DEVFLOW_.*|option_.*", "names like this are the panel's own"),
)
"""Names (as patterns) that a variable cannot have, and why."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_SCP_LIKE = re.compile(r"(?P<user>[A-Za-z0-9_.-]+)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^\s:][^\s]*)")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|@\{|//")
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # these turn the direction of what stands around them
)
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr")
_CROWDED = ("home", "var")
"""What lies right below these is shared by many (/home/deploy, /var/www): a site's folder must be deeper."""
REPOSITORY_SCHEMES = ("https", "http", "ssh", "file")


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562, version 7): 48 bits of milliseconds, then random bits."""
    value = int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10)
    number = int.from_bytes(value, "big") & ~(0xF << 76) & ~(0x3 << 62) | (7 << 76) | (2 << 62)
    return uuid.UUID(int=number)


def slug(value: str, field: str = "name") -> str:
    """1 to 63 of a-z, 0-9 and inner hyphens (a DNS label, RFC 1123). Raises InvalidError."""
    if not _SLUG.fullmatch(value):
        raise _invalid(field, value, "use 1 to 63 lower-case letters, digits and hyphens, like my-shop")
    return value


def variable(value: str, field: str = "key") -> str:
    """A variable's name as POSIX knows it (XBD 8.1), letters, digits and underscores; not one that would change how the
    commands themselves are run. Raises InvalidError."""
    if not _VARIABLE.fullmatch(value):
        raise _invalid(field, value, "use letters, digits and underscores, not starting with a digit, like APP_KEY")
    if reason := next((reason for pattern, reason in _TAKEN_VARIABLES if re.fullmatch(pattern, value)), ""):
        message = f"{value} cannot be a variable: {reason}."
        raise InvalidError(message, {field: message})
    return value


def branch(value: str, field: str = "branch") -> str:
    """A branch name by the rules of git-check-ref-format(1). Raises InvalidError."""
    parts = value.split("/")
    bad = (
        not value
        or len(value) > 200
        or value.startswith("-")
        or value.endswith(("/", "."))
        or value == "@"
        or _REF_FORBIDDEN.search(value)
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    )
    if bad:
        raise _invalid(field, value, "this is not a branch name that git allows, like main or feature/login")
    return value


def commit(value: str, field: str = "commit") -> str:
    """A full commit id, 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits. Raises InvalidError."""
    if not _COMMIT.fullmatch(value):
        raise _invalid(
            field, value, "give the full commit id: 40 hexadecimal digits, as `git rev-parse HEAD` prints it"
        )
    return value


def host(value: str, field: str = "host") -> str:
    """A host name or an IP address. Raises InvalidError."""
    if not _HOST.fullmatch(value):
        raise _invalid(field, value, "give a host name or an IP address, like web1.example.com")
    return value


def domain(value: str, field: str = "domains") -> str:
    """A host name that requests ask for, in lower case; `*.` may stand before it. Raises InvalidError."""
    clean = value.strip().rstrip(".").lower()
    labels = clean.removeprefix("*.").split(".")
    is_named = all(_SLUG.fullmatch(label) for label in labels) and (len(labels) > 1 or not clean.startswith("*"))
    if len(clean) > 253 or not is_named:
        raise _invalid(field, value, "give a host name, like shop.example.com or *.example.com")
    return clean


def user(value: str, field: str = "user") -> str:
    """A login name. Raises InvalidError."""
    if not _USER.fullmatch(value):
        raise _invalid(field, value, "give the login name on the server, like deploy")
    return value


def root(value: str, field: str = "root") -> str:
    """The absolute folder of a site, of its own: at least two levels deep, no `..`, no hidden folders, no control
    characters, not among the system's. Raises InvalidError."""
    clean = value.rstrip("/")
    parts = clean.split("/")[1:]
    is_absolute = value.startswith("/") and len(value) <= 500 and not _CONTROL.search(value)
    is_deep = len(parts) >= (3 if parts[:1] and parts[0] in _CROWDED else 2)
    if not is_absolute or not is_deep or parts[0] in _SYSTEM or any(not part or part.startswith(".") for part in parts):
        raise _invalid(field, value, "give an absolute folder of its own for the site, like /srv/shop or /var/www/shop")
    return clean


def relative_path(value: str, field: str = "path") -> str:
    """A path inside a release: relative, no `..`, no control characters; quotes, spaces stay. Raises InvalidError."""
    clean = value.strip("/")
    parts = clean.split("/")
    if (
        not clean
        or value.startswith("/")
        or len(value) > 300
        or _CONTROL.search(value)
        or {"", ".", "..", ".git"} & set(parts)
    ):
        raise _invalid(field, value, "give a path inside the project, like storage or config/local.php")
    return clean


def repository(value: str, field: str = "repository") -> str:
    """A git address: https, ssh, git@host:path, file:// or an absolute path on the server. Raises InvalidError."""
    advice = "give an address like https://host/team/app.git, git@host:team/app.git or /srv/git/app.git"
    if not value or len(value) > 1000 or value.startswith("-") or _CONTROL.search(value) or "::" in value:
        raise _invalid(field, value, advice)
    if value.startswith("/"):
        if ".." in value.split("/"):
            raise _invalid(field, value, advice)
        return value
    if _SCP_LIKE.fullmatch(value):
        return value
    try:
        parts = urlsplit(value)
        hostname = parts.hostname
    except ValueError:
        raise _invalid(field, value, advice) from None
    if (
        parts.scheme not in REPOSITORY_SCHEMES
        or " " in value
        or (parts.scheme != "file" and not _HOST.fullmatch(hostname or ""))
    ):
        raise _invalid(field, value, advice)
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        raise InvalidError(
            "The address holds a password or token; it would be seen in process lists and logs.",
            {field: "Take the password or token out of the address and use a deploy key with an ssh address."},
        )
    return value


def health_address(value: str, field: str = "health_url") -> str:
    """What a health check asks: an address, or a path on the server itself. Raises InvalidError."""
    if value.startswith("/"):
        return single_line(value, field, 1000)
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    except ValueError:
        is_usable = False
    if not is_usable or len(value) > 1000 or any(ord(character) < 33 for character in value):
        raise InvalidError(
            "The health check's address is not valid.",
            {
                field: "Give an address like https://shop.example.com/up, or a path like /up, "
                "which is asked on the server itself."
            },
        )
    return value


def is_ssh_repository(value: str) -> bool:
    """True where git reaches the repository over SSH, so that a deploy key is of use."""
    return value.startswith("ssh://") or bool(_SCP_LIKE.fullmatch(value))


def single_line(value: str, field: str, limit: int = 200) -> str:
    """Free text on one line, not empty, no control characters, none that turn its direction. Raises InvalidError."""
    clean = value.strip()
    if not clean or len(clean) > limit or _CONTROL.search(clean):
        raise _invalid(field, value, f"give 1 to {limit} characters on one line")
    return clean


def storable(value: str, field: str) -> str:
    """Any text that a file and the database can hold: no NUL, no half of a surrogate pair. Raises InvalidError."""
    if _UNSTORABLE.search(value):
        raise InvalidError(
            f"{field} holds a character that cannot be stored.", {field: "Take out NUL and broken characters."}
        )
    return value


def _invalid(field: str, value: str, advice: str) -> InvalidError:
    shown = value if len(value) <= 60 else value[:57] + "…"
    return InvalidError(f"{field} {shown!r} is not valid: {advice}.", {field: f"{shown!r} is not valid: {advice}."})
