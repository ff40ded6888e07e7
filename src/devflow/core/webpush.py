"""Web push: messages that only one browser can read (RFC 8291 over RFC 8188), and who they are from (RFC 8292).

Pure: bytes in, bytes out. A browser gives its public key and a secret of 16 bytes; what is made here is posted to the
address that it gives too.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LONGEST_TEXT: Final = 3993
"""Bytes of plaintext that make a body of 4096, which every push service takes."""
SECRET_BYTES: Final = 16
_RECORD: Final = 4096
_POINT: Final = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
_PEM: Final = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def generate() -> tuple[str, str]:
    """A new pair of keys of the panel's: the private one in PEM, the public one in base64url as browsers take it."""
    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(*_PEM).decode(), encode(private.public_key().public_bytes(*_POINT))


def public_point(text: str) -> bytes:
    """The 65 bytes of a browser's public key in base64url. Raises ValueError for what is no point of P-256."""
    point = decode(text)
    if len(point) != 65:
        raise ValueError("not an uncompressed point")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return point


def shared_secret(text: str) -> bytes:
    """The 16 bytes of a browser's secret in base64url. Raises ValueError."""
    secret = decode(text)
    if len(secret) != SECRET_BYTES:
        raise ValueError("not 16 bytes")
    return secret


def encrypt(
    text: bytes,
    *,
    receiver: bytes,
    secret: bytes,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of the request (`Content-Encoding: aes128gcm`). `receiver` is the browser's public point, `secret` its
    secret; the key and the salt are new for each message, and given by tests only. Raises ValueError for a text longer
    than LONGEST_TEXT."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{len(text)} bytes are too long for a push message")
    key = key or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    sender = key.public_key().public_bytes(*_POINT)
    common = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), receiver))
    material = _derive(common, secret, b"WebPush: info\0" + receiver + sender, 32)
    content_key = _derive(material, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(material, salt, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content_key).encrypt(nonce, text + b"\x02", None)  # 2 ends the last record, here the only one
    return salt + _RECORD.to_bytes(4, "big") + bytes([len(sender)]) + sender + sealed


def authorization(*, private_key: str, public_key: str, audience: str, subject: str, expires_at: int) -> str:
    """The header `Authorization` for a push service: a signed word of who sends, for that service (`audience`, its
    origin) and until `expires_at` (seconds since the epoch) alone. `subject` is how to reach the sender."""
    claims: dict[str, Any] = {"aud": audience, "exp": expires_at, "sub": subject}
    signed = ".".join(_json(part) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key for web push")
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={signed}.{signature}, k={public_key}"


def encode(raw: bytes) -> str:
    """Base64url without its filling."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Raises ValueError for what is no base64url."""
    plain = text.rstrip("=")
    if not plain.replace("-", "a").replace("_", "a").isalnum() or not plain.isascii():
        raise ValueError("not base64url")
    return urlsafe_b64decode(plain + "=" * (-len(plain) % 4))


def _derive(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(material)


def _json(document: dict[str, Any]) -> str:
    return encode(json.dumps(document, separators=(",", ":")).encode())
