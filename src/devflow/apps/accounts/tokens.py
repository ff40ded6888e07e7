"""What an API token looks like: `dfp_`, 43 random characters (256 bits), and six that check the others.

The prefix lets scanners of secrets find a token that was published, and the checksum lets them, and us, tell what
cannot be one: a mistyped token, or one made up, is refused without asking the database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

PREFIX: Final = "dfp_"
SHOWN: Final = 10
"""So many of the first characters are kept as they are, to recognise a token by."""

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM: Final = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM: Final = 6  # 62 ** 6 > 2 ** 32
_CHECKED: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}")
_OLD: Final = re.compile(rf"{PREFIX}[0-9A-Za-z_-]{{43}}")
"""Those that were made before there was a checksum; they go on to work."""


def token_make() -> str:
    """A new token."""
    return _with_checksum(PREFIX + _base62(secrets.randbits(256), _RANDOM))


def may_be_token(raw: str) -> bool:
    """Whether it is worth to look for it: it has the form of a token, and the right checksum."""
    if _CHECKED.fullmatch(raw):
        return raw == _with_checksum(raw[:-_CHECKSUM])
    return bool(_OLD.fullmatch(raw))


def digest(raw: str) -> str:
    """How tokens are stored: SHA-256 in hexadecimal (they are long and random, so no salt is needed)."""
    return hashlib.sha256(raw.encode()).hexdigest()


def _with_checksum(body: str) -> str:
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
