"""The `devflow` command: the one table of all commands, each imported only when it is called."""

import importlib
import os
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from devflow.core.errors import DevflowError

# Name → module:attribute, where the attribute is a function (one command) or a typer app (a group of commands).
COMMANDS: Final[dict[str, str]] = {
    # runs the panel
    "up": "devflow.cli.admin:up",
    "web": "devflow.cli.admin:web",
    "worker": "devflow.cli.admin:worker",
    "doctor": "devflow.cli.doctor:doctor",
    "version": "devflow.cli.admin:version",
    "admin": "devflow.cli.admin:app",
    # client of the API
    "login": "devflow.cli.login:login",
    "whoami": "devflow.cli.login:whoami",
    "teams": "devflow.cli.login:teams",
    "members": "devflow.cli.members:app",
    "servers": "devflow.cli.servers:app",
    "clusters": "devflow.cli.clusters:app",
    "containers": "devflow.cli.containers:app",
    "projects": "devflow.cli.projects:app",
    "environments": "devflow.cli.environments:app",
    "variables": "devflow.cli.variables:app",
    "proxy": "devflow.cli.proxy:app",
    "windows": "devflow.cli.windows:app",
    "access": "devflow.cli.access:app",
    "sources": "devflow.cli.sources:app",
    "check-file": "devflow.cli.devfile:check_file",
    "webhooks": "devflow.cli.webhooks:app",
    "plan": "devflow.cli.deployments:plan",
    "deploy": "devflow.cli.deployments:deploy",
    "promote": "devflow.cli.deployments:promote",
    "rollback": "devflow.cli.deployments:rollback",
    "deployments": "devflow.cli.deployments:app",
    "channels": "devflow.cli.channels:app",
    "tokens": "devflow.cli.tokens:app",
    "audit": "devflow.cli.audit:app",
    "networks": "devflow.cli.networks:app",
}


class LazyGroup(TyperGroup):
    """Imports a command when it is asked for, so that one command never pays for the imports of another."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(found)
            found = single
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup,
    name="devflow",
    help="Deploys web projects to your own servers, and looks after them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """A group even while typer sees no command of its own."""


def run() -> None:
    """Entry point of the `devflow` script."""
    try:
        try:
            app(prog_name="devflow")
        finally:
            sys.stdout.flush()
    except DevflowError as error:
        sys.stderr.write(f"devflow: {error}\n")
        sys.exit(getattr(error, "exit_status", 1))
    except BrokenPipeError:  # who read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    run()
