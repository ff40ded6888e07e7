"""The other side of web push: a browser that reads what is for it, and what a push service looks at."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from devflow.core.webpush import decode, encode

if TYPE_CHECKING:  # they need Django to be set up, which tests of the core do without
    from devflow.apps.accounts.rights import Actor
    from devflow.apps.notifications.models import PushDevice

AGENT = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140 Mobile Safari/537.36"


class Browser:
    """The keys of one subscription, as `PushManager.subscribe` makes them; reads by RFC 8188 and RFC 8291, with HKDF
    by hand (RFC 5869), so that nothing of what wrote it is used."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        self.point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.p256dh = encode(self.point)

    @property
    def auth(self) -> str:
        return encode(self.secret)

    def read(self, body: bytes) -> bytes:
        """Raises InvalidTag for what is not for it."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert size >= len(sealed), "one record"
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        common = self._key.exchange(ec.ECDH(), public)
        material = _hkdf(self.secret, common, b"WebPush: info\0" + self.point + sender, 32)
        key = _hkdf(salt, material, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _hkdf(salt, material, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert padded[-1:] == b"\x02", "the last record"
        return padded[:-1]

    def message(self, body: bytes) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.read(body))
        return read


def add_device(actor: Actor, endpoint: str = "", browser: Browser | None = None) -> PushDevice:
    """A browser that the actor has just logged in with, and that is told of the team."""
    from devflow.apps.notifications.devices import device_add
    from tests.support.event_writer import log_in

    browser = browser or Browser()
    endpoint = endpoint or f"https://push.example.com/{encode(os.urandom(16))}"
    given = {"endpoint": endpoint, "p256dh": browser.p256dh, "auth": browser.auth}
    return device_add(actor=actor, session_key=log_in(actor.user).partition(".")[0], agent=AGENT, **given)[0]


def claims_of(header: str, public_key: str) -> dict[str, Any]:
    """What the header `Authorization` says of the sender. Raises InvalidSignature for another key."""
    scheme, _, rest = header.partition(" ")
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "vapid"
    assert given["k"]
    head, claims, signature = given["t"].split(".")
    assert json.loads(decode(head)) == {"typ": "JWT", "alg": "ES256"}
    raw = decode(signature)
    assert len(raw) == 64
    signed = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(public_key))
    key.verify(signed, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    found: dict[str, Any] = json.loads(decode(claims))
    return found


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return _hmac(_hmac(salt, material), info + b"\x01")[:length]


def _hmac(key: bytes, text: bytes) -> bytes:
    made = hmac.HMAC(key, hashes.SHA256())
    made.update(text)
    return made.finalize()
