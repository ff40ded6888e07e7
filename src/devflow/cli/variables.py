"""Variables of an environment."""

import os
from pathlib import Path
from typing import Annotated

import typer

from devflow.cli.client import Client
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.names import Environment, Project
from devflow.cli.output import Json, moment, print_json, print_table, tell
from devflow.cli.secret_input import read_file, read_value

Keys = Annotated[list[str], typer.Argument(metavar="KEY…")]

app = typer.Typer(help="Variables of an environment: written to .env on its servers.", no_args_is_help=True)


@app.command("list")
def variable_list(project: Project, environment: Environment, as_json: Json = False) -> None:
    """The variables, their values masked."""
    found = Client().items(*_path(project, environment), "variables")
    if as_json:
        print_json(found)
        return
    rows = [variable | {"at": moment(variable["updated_at"])} for variable in found]
    empty = f"No variable yet: `devflow variables set {project} {environment} KEY`."
    print_table(rows, {"key": "KEY", "value": "VALUE", "at": "CHANGED"}, empty=empty)


@app.command("set")
def variables_set(
    project: Project,
    environment: Environment,
    pairs: Annotated[
        list[str], typer.Argument(metavar="KEY[=VALUE]…", help="Without =VALUE: asked for, or read from stdin.")
    ],
    as_json: Json = False,
) -> None:
    """Add or change variables. Keep secrets out of the arguments: give only the KEY, and the value on stdin."""
    asked = [pair for pair in pairs if "=" not in pair]
    if len(asked) > 1:
        raise ClientError(
            "Only one value can be read from stdin: give one KEY at a time, or use `devflow variables import`.",
            WRONG_USAGE,
        )
    values = {key: value for key, equals, value in (pair.partition("=") for pair in pairs) if equals}
    values |= {key: read_value(key) for key in asked}
    _tell_set(Client().post(*_path(project, environment), "variables", body={"values": values}), as_json=as_json)


@app.command("unset")
def variables_unset(project: Project, environment: Environment, keys: Keys, as_json: Json = False) -> None:
    """Remove variables."""
    client = Client()
    for key in keys:
        client.delete(*_path(project, environment), "variables", key)
    if as_json:
        print_json({"removed": keys})
    else:
        print(f"Removed: {', '.join(keys)}.")


@app.command("import")
def variables_import(
    project: Project,
    environment: Environment,
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="A .env file; - for stdin.")] = Path("-"),
    as_json: Json = False,
) -> None:
    """Add or change the variables of a .env file."""
    text = read_file(file)
    _tell_set(Client().post(*_path(project, environment), "dotenv", body={"text": text}), as_json=as_json)


@app.command("export")
def variables_export(
    project: Project,
    environment: Environment,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into this new file (0600) instead of stdout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the variables in clear, as a .env file. Needs a token with the scope admin."""
    text = Client().text(*_path(project, environment), "dotenv")
    if output is not None:
        _write_private(output, text)
        tell(f"Written to {output}.")
    elif as_json:
        print_json({"text": text})
    else:
        print(text, end="")


@app.command("diff")
def variables_diff(
    project: Project,
    environment: Environment,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another environment of the project.")],
    as_json: Json = False,
) -> None:
    """In which variables two environments of a project differ. Values are not shown."""
    found = Client().items(*_path(project, environment), "differences", other=other)
    if as_json:
        print_json(found)
        return
    words = {"changed": "differs", "only here": f"only in {environment}", "only there": f"only in {other}"}
    rows = [{"key": each["key"], "state": words[each["state"]]} for each in found]
    print_table(rows, {"key": "KEY", "state": "STATE"}, empty=f"{environment} and {other} have the same variables.")


def _path(project: str, environment: str) -> tuple[str, ...]:
    return "projects", project, "environments", environment


def _tell_set(answer: dict[str, list[str]], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(f"Set: {', '.join(answer['keys']) or 'nothing'}. It takes effect with the next deployment.")


def _write_private(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}.", WRONG_USAGE) from None
