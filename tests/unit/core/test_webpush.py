"""Web push: by the examples of RFC 8291 and RFC 8292, and read by a browser's side of its own."""

from __future__ import annotations

import json
import os

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec

from devflow.core import webpush
from tests.support.push_service import Browser, claims_of

# RFC 8291, section 5 and appendix A
TEXT = b"When I grow up, I want to be a watermelon"
SENDER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_standard_comes_out() -> None:
    key = ec.derive_private_key(int.from_bytes(webpush.decode(SENDER_PRIVATE), "big"), ec.SECP256R1())
    receiver, secret, salt = webpush.public_point(RECEIVER), webpush.shared_secret(SECRET), webpush.decode(SALT)
    assert webpush.encode(webpush.encrypt(TEXT, receiver=receiver, secret=secret, key=key, salt=salt)) == BODY


@pytest.mark.parametrize("length", [0, 1, 1000, webpush.LONGEST_TEXT])
def test_the_browser_reads_it_and_nobody_else(length: int) -> None:
    browser, other, text = Browser(), Browser(), os.urandom(length)
    body = webpush.encrypt(text, receiver=webpush.public_point(browser.p256dh), secret=browser.secret)
    assert browser.read(body) == text
    assert len(body) <= 4096
    assert body != webpush.encrypt(text, receiver=webpush.public_point(browser.p256dh), secret=browser.secret)
    other.secret = browser.secret
    with pytest.raises(InvalidTag):
        other.read(body)
    with pytest.raises(InvalidTag):
        browser.read(body[:-1] + bytes([body[-1] ^ 1]))


def test_what_is_too_long_is_refused() -> None:
    browser = Browser()
    with pytest.raises(ValueError, match="too long"):
        webpush.encrypt(bytes(3994), receiver=webpush.public_point(browser.p256dh), secret=browser.secret)


def test_the_sender_is_signed_for_one_service_and_time() -> None:
    private, public = webpush.generate()
    header = webpush.authorization(
        private_key=private, public_key=public, audience="https://push.example", subject="mailto:a@b.c", expires_at=17
    )
    assert claims_of(header, public) == {"aud": "https://push.example", "sub": "mailto:a@b.c", "exp": 17}
    with pytest.raises(InvalidSignature):
        claims_of(header, webpush.generate()[1])
    token = header.split("t=")[1].split(",")[0]
    forged = webpush.encode(json.dumps({"aud": "https://push.example", "exp": 99}).encode())
    with pytest.raises(InvalidSignature):
        claims_of(header.replace(token.split(".")[1], forged), public)


@pytest.mark.parametrize(
    "text",
    ["", "A", "Ä" * 87, "!" * 87, "A" * 87, RECEIVER[:-2], RECEIVER + "AAAA", webpush.encode(b"\x04" + b"\x07" * 64)],
)
def test_only_points_of_the_curve_are_taken(text: str) -> None:
    with pytest.raises(ValueError):
        webpush.public_point(text)


@pytest.mark.parametrize("text", ["", "A", SECRET[:-2], SECRET + "AA", "ü" * 22, "a b"])
def test_only_16_bytes_are_a_secret(text: str) -> None:
    with pytest.raises(ValueError):
        webpush.shared_secret(text)
