"""Secrets come from files, stdin or a hidden prompt: in the arguments of a command other users could read them."""

import getpass
import sys
from pathlib import Path

from devflow.cli.errors import WRONG_USAGE, ClientError


def read_file(path: Path) -> str:
    """The text of a file; `-` is stdin. Raises ClientError."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ClientError(f"{path} cannot be read: {reason}.", WRONG_USAGE) from None


def read_value(name: str) -> str:
    """A value from a hidden prompt; where stdin is no terminal all of it, without the newline at its end."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    return read_file(Path("-")).removesuffix("\n")
