"""SSH keys as text: made, read and recognised. No files, no network."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devflow.core.errors import InvalidError

_OPENSSH = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
_PUBLIC = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def generate() -> str:
    """A new ed25519 private key in OpenSSH's format."""
    return Ed25519PrivateKey.generate().private_bytes(*_OPENSSH).decode()


def public_of(private_key: str, comment: str, field: str = "private_key") -> str:
    """The public key line of a private key (OpenSSH or PEM, without passphrase). Raises InvalidError."""
    data = private_key.encode()
    try:
        load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
        public = load(data, password=None).public_key()
        line = public.public_bytes(*_PUBLIC).decode()
    except TypeError:
        raise _invalid(
            field, "This key has a passphrase, which nobody could type at night. Give a key without one."
        ) from None
    except (ValueError, UnsupportedAlgorithm, AttributeError):
        raise _invalid(
            field, "This is not a private SSH key. It begins with -----BEGIN OPENSSH PRIVATE KEY-----."
        ) from None
    return f"{line} {comment}"


def public_key(line: str, field: str) -> str:
    """`<type> <base64>` of a public key line, without its comment. Raises InvalidError."""
    parts = line.split()
    try:
        serialization.load_ssh_public_key(" ".join(parts[:2]).encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid(
            field, "This is not a public key. It looks like: ssh-ed25519 AAAAC3… (see /etc/ssh/*.pub there)."
        ) from None
    return " ".join(parts[:2])


def fingerprint(line: str) -> str:
    """The fingerprint of a public key line as `ssh-keygen -l` prints it: SHA256:… ('' for none)."""
    parts = line.split()
    if len(parts) < 2:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(parts[1])).digest()).decode().rstrip("=")


def _invalid(field: str, message: str) -> InvalidError:
    return InvalidError(message, {field: message})
