"""The command itself: its help, its speed, its completion, its output."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from devflow.cli.main import COMMANDS, app
from tests.cli.conftest import Cli

CLIENT = [name for name, target in COMMANDS.items() if "admin" not in target and "doctor" not in target]


def imported(code: str) -> set[str]:
    """Top-level modules that are loaded after the code has run."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_version_loads_next_to_nothing() -> None:
    loaded = imported("from devflow.cli.main import app\ntry: app(['version'])\nexcept SystemExit: pass")
    assert not loaded & {"django", "httpx", "asyncssh", "rich"}


@pytest.mark.parametrize("name", CLIENT)
def test_client_commands_do_not_load_django(name: str) -> None:
    module, _, _ = COMMANDS[name].partition(":")
    loaded = imported(f"import {module}, devflow.cli.events, devflow.cli.progress")
    assert not loaded & {"django", "psycopg", "procrastinate", "asyncssh", "ninja"}


def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command."""
    context = command.make_context("devflow", [], resilient_parsing=True)  # type: ignore[attr-defined]
    if not hasattr(command, "list_commands"):
        return [path]
    names = command.list_commands(context)
    return [leaf for name in names for leaf in leaves(command.get_command(context, name), (*path, name))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", leaves(get_command(app)), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"]).output
    assert "Usage" in shown
    if words[0] in CLIENT:
        assert "--json" in shown


def test_a_wrong_option_is_wrong_usage(stranger: Cli) -> None:
    assert "--nonsense" in stranger("servers", "list", "--nonsense", status=2).err
    stranger("nonsense", status=2)
    stranger("servers", "nonsense", status=2)


def test_completion_knows_commands_and_their_parts(stranger: Cli) -> None:
    for words, expected in (("devflow ser", "servers"), ("devflow servers ma", "maintenance")):
        count = str(len(words.split()) - 1)
        completing = stranger.with_environment(_DEVFLOW_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
        assert completing(status=None).out.split() == [expected]


def test_a_reader_that_leaves_is_no_failure_to_cry_about(cli: Cli) -> None:
    with cli.start("tokens", "list") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
