"""Secrets at rest: AES-256-GCM under keys derived from master keys that live outside the database."""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from devflow.core.errors import DevflowError

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
KEY_LIMIT: Final = 16
"""More master keys at once are taken for a mistake."""
FILE_LIMIT_BYTES: Final = 8192
_NONCE_BYTES: Final = 12
_WITHOUT_KEY_ID: Final = b"\x01"
_WITH_KEY_ID: Final = b"\x02"
_FILE_HEAD: Final = """\
# The master key of this DevFlow Pro panel: without it the secrets in its database cannot be read. Keep a copy, apart
# from the database's backups. Where there are several keys, the first one seals, and the others open older values.
"""


class MasterKeyError(DevflowError):
    """The master key cannot be had; the message says where it was looked for and what to do."""


class SealError(DevflowError):
    """A sealed value cannot be opened: another master key, another row, or damage."""


def new_master_key() -> bytes:
    return os.urandom(KEY_BYTES)


def parse_master_keys(text: str, origin: str) -> tuple[bytes, ...]:
    """The keys in a text, the one that seals first: each is 32 bytes in hexadecimal or base64; blanks, commas or lines
    are between them, lines that begin with # are left out.

    `origin` begins the message of the MasterKeyError, which tells nothing of the text.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = re.split(r"[\s,]+", " ".join(lines).strip())
    keys = tuple(dict.fromkeys(_parse_key(word, origin) for word in words if word))
    if not keys:
        raise MasterKeyError(f"{origin} is not a master key: it is empty. Put the right one back from your backup.")
    if len(keys) > KEY_LIMIT:
        raise MasterKeyError(f"{origin} holds {len(keys)} master keys; at most {KEY_LIMIT} are taken.")
    return keys


def _parse_key(word: str, origin: str) -> bytes:
    try:
        if re.fullmatch(r"[0-9a-fA-F]+", word):
            key = bytes.fromhex(word)
        else:
            filled = word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4)
            key = base64.b64decode(filled.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        found = f"it has {len(key)} bytes" if key else f"{len(word)} characters that are neither hexadecimal nor base64"
        raise MasterKeyError(
            f"{origin} is not a master key ({KEY_BYTES} bytes in hexadecimal or base64): {found}. "
            "Put the right one back from your backup; a new one is made by: openssl rand -base64 32"
        )
    return key


def read_key_file(path: Path) -> tuple[bytes, ...]:
    """The keys in `path`, the one that seals first. Raises MasterKeyError, also when others can read the file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(FILE_LIMIT_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise MasterKeyError(f"The master key {path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(mode):
        raise MasterKeyError(f"The master key {path} is not a file.")
    if stat.S_IMODE(mode) & 0o077:
        raise MasterKeyError(f"The master key {path} can be read by others. Run: chmod 600 {path}")
    if len(raw) > FILE_LIMIT_BYTES:
        raise MasterKeyError(f"{path} is not a master key: it has more than {FILE_LIMIT_BYTES} bytes.")
    return parse_master_keys(raw.decode("ascii", "replace"), str(path))


def make_key_file(path: Path) -> None:
    """A new key in `path`, with mode 0600; a file that is there already is left as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise MasterKeyError(f"The master key {path} cannot be made: {error.strerror}.") from error
    _write_keys(descriptor, (new_master_key(),))


def replace_key_file(path: Path, keys: tuple[bytes, ...]) -> None:
    """Puts these keys in place of those in the file, by one rename: who reads it meanwhile finds the old or the new.

    Owner and mode stay. Raises MasterKeyError and changes nothing where that cannot be done.
    """
    path = path.resolve()  # what a link points to is replaced, not the link
    beside = path.with_name(f".{path.name}.new")
    try:
        before = path.stat()
        beside.unlink(missing_ok=True)  # an attempt that was killed
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        if os.fstat(descriptor).st_uid != before.st_uid or os.fstat(descriptor).st_gid != before.st_gid:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        _write_keys(descriptor, keys)
        beside.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise MasterKeyError(
            f"The key file {path} cannot be replaced: {error.strerror}. Run this as the user of the panel, "
            "where the file's folder can be written."
        ) from error


def _write_keys(descriptor: int, keys: tuple[bytes, ...]) -> None:
    with os.fdopen(descriptor, "w") as file:
        file.write(_FILE_HEAD + "".join(f"{key.hex()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())


def derive_key(master: bytes, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose, derived from the master key (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(master)


class Vault:
    """Seals and opens small secrets. `context` names the place (table, column, row): nowhere else can it be opened.

    The first master key seals; the others open what was sealed before there was the first.
    """

    def __init__(self, *masters: bytes) -> None:
        self._ciphers = {
            derive_key(master, b"devflow-key-id-v1", KEY_ID_BYTES): AESGCM(derive_key(master, b"devflow-secrets-v1"))
            for master in masters
        }
        self.head = _WITH_KEY_ID + next(iter(self._ciphers))
        """What every value begins with that is sealed with the first key."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Version byte, 8 bytes of key id, 12 bytes of nonce, ciphertext with its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self.head[1:]]
        return self.head + nonce + cipher.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The plaintext; raises SealError."""
        for cipher, nonce, ciphertext in self._ways(sealed):
            try:
                return cipher.decrypt(nonce, ciphertext, context)
            except InvalidTag:
                continue
        raise SealError("A stored secret cannot be opened with this master key. Is it the key of this panel?")

    def _ways(self, sealed: bytes) -> list[tuple[AESGCM, bytes, bytes]]:
        """The ciphers that may open the value; of one without a key id (from before version 2) that is any."""
        version, start = sealed[:1], 1
        if version == _WITH_KEY_ID:
            start += KEY_ID_BYTES
            ciphers = [self._ciphers[sealed[1:start]]] if sealed[1:start] in self._ciphers else []
        elif version == _WITHOUT_KEY_ID:
            ciphers = list(self._ciphers.values())
        else:
            raise SealError("This is not a sealed value.")
        end = start + _NONCE_BYTES
        if len(sealed) < end:
            raise SealError("This is not a sealed value.")
        return [(cipher, sealed[start:end], sealed[end:]) for cipher in ciphers]
