"""SSH keys as text, as OpenSSH itself sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devflow.core import keys
from devflow.core.errors import InvalidError


def ssh_keygen(*arguments: str) -> str:
    return subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_openssh_takes_a_key_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(keys.generate())
    public = ssh_keygen("-y", "-f", str(path))
    assert keys.public_of(path.read_text(), "devflow-web1").split() == [*public.split()[:2], "devflow-web1"]
    (tmp_path / "key.pub").write_text(public)
    assert ssh_keygen("-l", "-f", str(tmp_path / "key.pub")).split()[1] == keys.fingerprint(public)


@pytest.mark.parametrize("kind", [["ed25519"], ["rsa", "-b", "2048"], ["ecdsa"], ["rsa", "-b", "2048", "-m", "PEM"]])
def test_keys_of_others_are_taken(tmp_path: Path, kind: list[str]) -> None:
    path = tmp_path / "key"
    ssh_keygen("-q", "-N", "", "-f", str(path), "-t", *kind)
    assert keys.public_of(path.read_text(), "x").split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]


@pytest.mark.parametrize("form", [[], ["-m", "PEM"]])
def test_a_passphrase_is_refused_with_the_reason(tmp_path: Path, form: list[str]) -> None:
    path = tmp_path / "key"
    ssh_keygen("-q", "-N", "passphrase", "-f", str(path), "-t", "rsa", "-b", "2048", *form)
    with pytest.raises(InvalidError, match="has a passphrase") as refused:
        keys.public_of(path.read_text(), "x", "deploy_key")
    assert list(refused.value.errors) == ["deploy_key"]


def test_a_pkcs8_key_is_taken() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert keys.public_of(pem.decode(), "x").startswith("ssh-rsa ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----",
        "ssh-ed25519 AAAA",
        "日本",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_what_is_no_private_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="not a private SSH key"):
        keys.public_of(text, "x")


def test_a_public_key_is_kept_without_its_comment() -> None:
    line = keys.public_of(keys.generate(), "somebody@somewhere")
    assert keys.public_key(line, "host_key") == " ".join(line.split()[:2])


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "hello world", "ssh-ed25519 日本", "\x00 \x00"]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="not a public key"):
        keys.public_key(text, "host_key")


def test_no_key_has_no_fingerprint() -> None:
    assert keys.fingerprint("") == ""
