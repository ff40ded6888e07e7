"""Secrets at rest."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.core.crypto import KeyFileError, SealError, Vault, derive_key, load_or_create_master_key

MASTER = bytes(range(32))


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=40))
def test_what_is_sealed_opens_in_its_place_only(plaintext: bytes, context: bytes) -> None:
    vault = Vault(MASTER)
    sealed = vault.seal(plaintext, context)
    assert vault.open(sealed, context) == plaintext
    with pytest.raises(SealError):
        vault.open(sealed, context + b"x")


@given(position=st.integers(0, 60), bit=st.integers(0, 7))
def test_any_damage_is_noticed(position: int, bit: int) -> None:
    vault = Vault(MASTER)
    sealed = bytearray(vault.seal(b"a secret of 32 bytes, or nearly.", b"row"))
    sealed[position] ^= 1 << bit
    with pytest.raises(SealError):
        vault.open(bytes(sealed), b"row")


@given(data=st.binary(max_size=60))
def test_what_was_never_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(SealError):
        Vault(MASTER).open(data, b"row")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    vault = Vault(MASTER)
    assert vault.seal(b"x", b"row") != vault.seal(b"x", b"row")


def test_another_master_key_opens_nothing() -> None:
    with pytest.raises(SealError, match="Is it the key file of this panel"):
        Vault(bytes(32)).open(Vault(MASTER).seal(b"x", b"row"), b"row")


def test_keys_differ_by_purpose() -> None:
    assert derive_key(MASTER, b"a") != derive_key(MASTER, b"b")
    assert derive_key(MASTER, b"a") == derive_key(MASTER, b"a")
    assert len(derive_key(MASTER, b"a", 16)) == 16


def test_the_master_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = load_or_create_master_key(path)
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert load_or_create_master_key(path) == key


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    load_or_create_master_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create_master_key(path)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "not hexadecimal"])
def test_what_is_no_key_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="is not a master key"):
        load_or_create_master_key(path)
    assert path.read_text() == text
