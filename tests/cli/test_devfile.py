"""Checking a devflow.yml without a panel, and hooks and the file's settings through one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Shop

GOOD = "recipe: static\nkeep: 3\nhooks: {before_activate: 'echo warm >warmed'}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "devflow.yml"


def test_a_valid_file(stranger: Cli, file: Path) -> None:
    file.write_text(GOOD)
    assert stranger("check-file", str(file)).out == f"{file} is valid.\n"
    assert stranger("check-file", str(file.parent)).out == f"{file} is valid.\n"
    assert stranger("check-file", str(file), "--json").json == {"valid": True, "faults": [], "warnings": []}


def test_faults_are_told_as_compilers_do(stranger: Cli, file: Path) -> None:
    file.write_text("keep: 3\nhoks:\n  x: 1\n")
    told = stranger("check-file", str(file), status=2)
    assert told.err == f"{file}:2:1: the file has no setting 'hoks'; did you mean 'hooks'?\n"
    assert stranger("check-file", str(file), "--json", status=2).json == {
        "valid": False,
        "faults": [{"line": 2, "column": 1, "message": "the file has no setting 'hoks'; did you mean 'hooks'?"}],
        "warnings": [],
    }


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbfkeep: 3\r\n"])
def test_files_of_other_systems(stranger: Cli, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    stranger("check-file", str(file))


def test_a_binary_file_is_refused(stranger: Cli, file: Path) -> None:
    file.write_bytes(b"keep: 3\nx: \xff\xfe\x00")
    assert f"{file}:2:4: this character cannot be in the file" in stranger("check-file", str(file), status=2).err


def test_a_missing_file_is_wrong_usage(stranger: Cli, file: Path) -> None:
    assert f"{file} cannot be read: No such file" in stranger("check-file", str(file), status=2).err


def test_hooks_without_a_place_are_warned_of(stranger: Cli, file: Path) -> None:
    file.write_text(
        "recipe: php\nhooks: {before_compser_install: x}\nenvironments: {live: {hooks: {after_actvate: y}}}\n"
    )
    warned = stranger("check-file", str(file))
    assert "devflow.yml:2: The hook before 'compser_install' does not run" in warned.err
    assert "Did you mean 'composer install'?" in warned.err
    assert "devflow.yml:3: The hook after 'actvate' does not run" in warned.err
    file.write_text("hooks: {before_composer_install: x, after_migrate: y}\n")
    assert stranger("check-file", str(file)).err == "", "without a recipe, the steps of all are known"


# --- through a panel --------------------------------------------------------------------------------------------------


def test_hooks_of_an_environment(cli: Cli, shop: Shop) -> None:
    cli(
        *("environments", "update", shop.slug, "production"),
        *("--hook", "before:activate=echo warm >warmed", "--hook", "after:verify release@first=echo a=b"),
    )
    shown = cli("environments", "show", shop.slug, "production", "--json").json["hooks"]
    assert shown == [
        {"when": "before", "what": "activate", "command": "echo warm >warmed", "where": "all"},
        {"when": "after", "what": "verify release", "command": "echo a=b", "where": "first"},
    ]
    cli("deploy", shop.slug, "production")
    assert (shop.root / "current" / "warmed").read_text() == "warm\n"
    cli("environments", "update", shop.slug, "production", "--hook", "")
    assert cli("environments", "show", shop.slug, "production", "--json").json["hooks"] == []
    told = cli("environments", "update", shop.slug, "production", "--hook", "activate=x", status=2).err
    assert "is not WHEN:PLACE=COMMAND" in told
    told = cli("environments", "update", shop.slug, "production", "--hook", "before:activte=x", status=2).err
    assert "Did you mean 'activate'?" in told


def test_the_file_of_the_repository(cli: Cli, shop: Shop) -> None:
    shop.repository.commit({"devflow.yml": GOOD})
    assert "devflow.yml line" not in cli("plan", shop.slug, "production").out
    cli("projects", "update", shop.slug, "--read-file")
    assert "reads devflow.yml  yes" in cli("projects", "show", shop.slug).out
    shown = cli("plan", shop.slug, "production").out
    assert "keep is from devflow.yml line 2: 3" in shown
    assert "hooks.before_activate is from devflow.yml line 3: echo warm >warmed" in shown
    cli("deploy", shop.slug, "production")
    assert (shop.root / "current" / "warmed").read_text() == "warm\n"
    shop.repository.commit({"devflow.yml": "keep: 1\n"})
    assert "devflow.yml:1:1: keep cannot be 1." in cli("plan", shop.slug, "production", status=2).err
    assert "devflow.yml:1:1: keep cannot be 1." in cli("deploy", shop.slug, "production", status=1).err
    cli("projects", "update", shop.slug, "--ignore-file")
    cli("deploy", shop.slug, "production")
