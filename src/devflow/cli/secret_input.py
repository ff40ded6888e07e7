"""Secrets come from files, stdin or a hidden prompt: in the arguments of a command other users could read them."""

import getpass
import sys
from pathlib import Path

from devflow.cli.errors import WRONG_USAGE, ClientError


def read_file(path: Path) -> str:
    """The text of a file as its bytes are, also at the ends of its lines; `-` is stdin. Raises ClientError."""
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ClientError(f"{path} cannot be read: {reason}.", WRONG_USAGE) from None


def read_value(name: str, *, as_it_is: bool = False) -> str:
    """A value from a hidden prompt; where stdin is no terminal all of it, without the newline at its end.

    What is to be a file is taken `as_it_is`: a private key without its last newline is none.
    """
    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    text = read_file(Path("-"))
    return text if as_it_is else text.removesuffix("\n").removesuffix("\r")
