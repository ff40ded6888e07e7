"""Secrets at rest."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.core.crypto import (
    FILE_LIMIT_BYTES,
    MasterKeyError,
    SealError,
    Vault,
    derive_key,
    make_key_file,
    parse_master_keys,
    read_key_file,
    replace_key_file,
)

MASTER = bytes(range(32))
NEWER = bytes(range(32, 64))
# Sealed by version 1.0, which knew no key ids: Vault(MASTER).seal(b"a secret", b"row")
FROM_BEFORE = bytes.fromhex("013c78456d03a708017faf3205fd1f77386d1bff9865a74b858f305f8512ddd7234ff027a7")


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=40))
def test_what_is_sealed_opens_in_its_place_only(plaintext: bytes, context: bytes) -> None:
    vault = Vault(MASTER)
    sealed = vault.seal(plaintext, context)
    assert vault.open(sealed, context) == plaintext
    with pytest.raises(SealError):
        vault.open(sealed, context + b"x")


@given(position=st.integers(0, 68), bit=st.integers(0, 7))
def test_any_damage_is_noticed(position: int, bit: int) -> None:
    vault = Vault(MASTER)
    sealed = bytearray(vault.seal(b"a secret of 32 bytes, or nearly.", b"row"))
    sealed[position] ^= 1 << bit
    with pytest.raises(SealError):
        vault.open(bytes(sealed), b"row")


@given(data=st.binary(max_size=60))
def test_what_was_never_sealed_is_refused(data: bytes) -> None:
    for head in (b"", b"\x01", Vault(MASTER).head):
        with pytest.raises(SealError):
            Vault(MASTER).open(head + data, b"row")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    vault = Vault(MASTER)
    assert vault.seal(b"x", b"row") != vault.seal(b"x", b"row")


def test_another_master_key_opens_nothing() -> None:
    with pytest.raises(SealError, match="Is it the key of this panel"):
        Vault(bytes(32)).open(Vault(MASTER).seal(b"x", b"row"), b"row")


def test_the_first_key_seals_and_all_open() -> None:
    both = Vault(NEWER, MASTER)
    assert both.open(Vault(MASTER).seal(b"x", b"row"), b"row") == b"x"
    sealed = both.seal(b"y", b"row")
    assert sealed.startswith(Vault(NEWER).head)
    assert Vault(NEWER).open(sealed, b"row") == b"y"
    with pytest.raises(SealError):
        Vault(MASTER).open(sealed, b"row")


def test_what_was_sealed_before_there_were_key_ids_opens() -> None:
    for vault in (Vault(MASTER), Vault(NEWER, MASTER)):
        assert vault.open(FROM_BEFORE, b"row") == b"a secret"
    with pytest.raises(SealError):
        Vault(NEWER).open(FROM_BEFORE, b"row")
    with pytest.raises(SealError):
        Vault(MASTER).open(FROM_BEFORE, b"another row")


def test_the_key_id_tells_nothing_of_the_key() -> None:
    assert Vault(MASTER).head[1:] not in (MASTER[:8], MASTER[-8:])


def test_keys_differ_by_purpose() -> None:
    assert derive_key(MASTER, b"a") != derive_key(MASTER, b"b")
    assert derive_key(MASTER, b"a") == derive_key(MASTER, b"a")
    assert len(derive_key(MASTER, b"a", 16)) == 16


# --- the key as a text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        MASTER.hex(),
        MASTER.hex().upper() + "\n",
        base64.b64encode(MASTER).decode(),
        base64.urlsafe_b64encode(b"\xff" * 32).decode().rstrip("="),
        f"# a comment with words\n\n{MASTER.hex()}\n",
    ],
)
def test_a_key_in_hexadecimal_or_base64(text: str) -> None:
    assert parse_master_keys(text, "DEVFLOW_MASTER_KEY") in ((MASTER,), (b"\xff" * 32,))


@pytest.mark.parametrize("between", [" ", "\n", ",", ", ", "\n# the old one\n"])
def test_several_keys_the_first_one_first(between: str) -> None:
    assert parse_master_keys(f"{NEWER.hex()}{between}{base64.b64encode(MASTER).decode()}", "x") == (NEWER, MASTER)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        (" \n# only a comment\n", "is empty"),
        ("00" * 31, "it has 31 bytes"),
        ("00" * 33, "it has 33 bytes"),
        (base64.b64encode(bytes(16)).decode(), "it has 16 bytes"),
        ("a-secret-that-is-no-key!", "24 characters that are neither"),
        (" ".join(base64.b64encode(os.urandom(32)).decode() for _ in range(17)), "at most 16"),
    ],
)
def test_what_is_no_key_is_refused_and_not_told(text: str, told: str) -> None:
    with pytest.raises(MasterKeyError, match=told) as refused:
        parse_master_keys(text, "DEVFLOW_MASTER_KEY")
    assert str(refused.value).startswith("DEVFLOW_MASTER_KEY ")
    assert not text.strip() or text.strip() not in str(refused.value)


# --- the key file -----------------------------------------------------------------------------------------------------


def test_the_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    (key,) = read_key_file(path)
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    make_key_file(path)
    assert read_key_file(path) == (key,)


def test_a_key_file_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(MASTER.hex() + "\n")
    path.chmod(0o600)
    assert read_key_file(path) == (MASTER,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    path.chmod(mode)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        read_key_file(path)


@pytest.mark.parametrize("text", ["", "00" * 33, "not hexadecimal", "x" * (FILE_LIMIT_BYTES + 1), "\0" * 64])
def test_what_is_no_key_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(MasterKeyError, match="is not a master key"):
        read_key_file(path)
    assert path.read_text() == text


def test_a_key_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="cannot be read: No such file"):
        read_key_file(tmp_path / "absent")
    with pytest.raises(MasterKeyError, match="cannot be read: Is a directory"):
        read_key_file(tmp_path)
    with pytest.raises(MasterKeyError, match="cannot be made"):
        make_key_file(tmp_path / "no" / "folder" / "key")


def test_a_key_file_is_replaced_at_one_stroke(tmp_path: Path) -> None:
    path, link = tmp_path / "real" / "master.key", tmp_path / "master.key"
    path.parent.mkdir()
    make_key_file(path)
    link.symlink_to(path)
    (path.parent / ".master.key.new").write_text("what a killed attempt left")
    replace_key_file(link, (NEWER, MASTER))
    assert read_key_file(link) == (NEWER, MASTER)
    assert (link.is_symlink(), stat.S_IMODE(path.stat().st_mode)) == (True, 0o600)
    assert [each.name for each in path.parent.iterdir()] == ["master.key"]
    with pytest.raises(MasterKeyError, match="cannot be replaced: No such file"):
        replace_key_file(tmp_path / "absent", (MASTER,))
