"""Secrets at rest: AES-256-GCM under keys derived from one master key that lives outside the database."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from devflow.core.errors import DevflowError

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class KeyFileError(DevflowError):
    """The master key file cannot be used."""


class SealError(DevflowError):
    """A sealed value cannot be opened: another master key, another row, or damage."""


def load_or_create_master_key(path: Path) -> bytes:
    """The 32 bytes of the master key in `path`; made with mode 0600 when the file is absent.

    Raises KeyFileError when the file is readable by others or is not a key.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_master_key(path)
    with os.fdopen(descriptor, "w") as file:
        file.write(os.urandom(KEY_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return _read_master_key(path)


def _read_master_key(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyFileError(f"The master key {path} can be read by others. Run: chmod 600 {path}")
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"{path} is not a master key (64 hexadecimal digits). Put the right file back from your backup."
        )
    return key


def derive_key(master: bytes, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose, derived from the master key (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(master)


class Vault:
    """Seals and opens small secrets. `context` names the place (table, column, row): nowhere else can it be opened."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive_key(master, b"devflow-secrets-v1"))

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Version byte, 12 bytes of nonce, ciphertext with its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The plaintext; raises SealError."""
        head = len(_VERSION) + _NONCE_BYTES
        if sealed[:1] != _VERSION or len(sealed) < head:
            raise SealError("This is not a sealed value.")
        try:
            return self._cipher.decrypt(sealed[1:head], sealed[head:], context)
        except InvalidTag as error:
            raise SealError(
                "A stored secret cannot be opened with this master key. Is it the key file of this panel?"
            ) from error
