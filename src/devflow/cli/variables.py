"""Variables of an environment, and (`--base`) of a project for all of its environments."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, WRONG_USAGE, ClientError
from devflow.cli.names import Environment, Project
from devflow.cli.output import Json, moment, print_json, print_table, tell
from devflow.cli.secret_input import read_file, read_value

Place = Annotated[
    str | None, typer.Argument(metavar="[ENV]", help="Name of the environment; none with --base.", show_default=False)
]
Words = Annotated[list[str], typer.Argument(metavar="[ENV] KEY…", help="The environment (none with --base), and keys.")]
Base = Annotated[bool, typer.Option("--base", help="The project's variables, for all of its environments.")]
Kind = Annotated[str | None, typer.Option(metavar="KIND", help="text, secret (of new ones), multiline or file.")]
COMPARE_SECONDS = 60

app = typer.Typer(help="Variables: written to .env on the servers with the next deployment.", no_args_is_help=True)


@app.command("list")
def variable_list(project: Project, environment: Place = None, base: Base = False, as_json: Json = False) -> None:
    """The variables in force, with where each is from, their values masked."""
    path = _path(project, environment, base=base)
    found = Client().items(*path, "variables")
    if as_json:
        print_json(found)
        return
    words = {"base": "base", "own": environment or "", "overrides": f"{environment}, instead of base"}
    rows = [variable | {"at": moment(variable["updated_at"]), "from": words[variable["origin"]]} for variable in found]
    columns = {"key": "KEY", "value": "VALUE", "kind": "KIND"}
    columns |= {"overridden_in": "INSTEAD OF IT"} if base else {"from": "FROM"}
    empty = f"No variable yet: `devflow variables set {project} {'--base' if base else environment} KEY`."
    print_table(rows, {**columns, "at": "CHANGED"}, empty=empty)


@app.command("set")
def variables_set(
    project: Project,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ENV] KEY[=VALUE]…", help="The environment (none with --base), and a KEY, or KEY=VALUE."
        ),
    ],
    base: Base = False,
    kind: Kind = None,
    file: Annotated[Path | None, typer.Option(metavar="PATH", help="Read the value from this file.")] = None,
    as_json: Json = False,
) -> None:
    """Add or change variables. A value that is not given is asked for, or read from stdin or a file. Keep secrets out
    of the arguments: every user of the machine can see those while the command runs."""
    environment, pairs = _split(words, base=base)
    path = _path(project, environment, base=base)
    values = {key: value for key, equals, value in (pair.partition("=") for pair in pairs) if equals}
    asked = [pair for pair in pairs if "=" not in pair]
    if values and kind != "text":
        tell(f"Others on this machine may have seen the value of {next(iter(values))}: give KEY, the value on stdin.")
    if len(asked) > 1 or (file is not None and len(asked) != 1):
        raise ClientError(
            "Only one value can be read: give one KEY at a time, or use `devflow variables import`.", WRONG_USAGE
        )
    client = Client()
    for key in asked:
        if file is not None:
            values[key] = read_file(file)
        else:
            values[key] = read_value(key, as_it_is=(kind or _kind_of(client, path, key)) == "file")
    answer = client.post(*path, "variables", body={"values": values, "kind": kind})
    _tell_set(answer, as_json=as_json)


@app.command("unset")
def variables_unset(project: Project, words: Words, base: Base = False, as_json: Json = False) -> None:
    """Remove variables; where there is a base variable of the same name, that is in force again."""
    environment, keys = _split(words, base=base)
    path = _path(project, environment, base=base)
    client = Client()
    for key in keys:
        client.delete(*path, "variables", key)
    if as_json:
        print_json({"removed": keys})
    else:
        print(f"Removed: {', '.join(keys)}.")


@app.command("import")
def variables_import(
    project: Project,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ENV] [FILE]", help="The environment (none with --base); a .env file, - for stdin."),
    ] = None,
    base: Base = False,
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Add or change the variables of a .env file."""
    environment, files = _split(words or [], base=base, least=0)
    if len(files) > 1:
        raise ClientError("Give one file.", WRONG_USAGE)
    text = read_file(Path(files[0] if files else "-"))
    path = _path(project, environment, base=base)
    _tell_set(Client().post(*path, "dotenv", body={"text": text, "kind": kind}), as_json=as_json)


@app.command("export")
def variables_export(
    project: Project,
    environment: Place = None,
    base: Base = False,
    own: Annotated[bool, typer.Option("--own", help="Without the project's base variables.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into this new file (0600) instead of stdout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the variables in force in clear, as a .env file. Needs a token with the scope admin."""
    query = {"own": "true"} if own and not base else {}
    text = Client().text(*_path(project, environment, base=base), "dotenv", **query)
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
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another environment of the project.")] = None,
    servers: Annotated[bool, typer.Option("--servers", help="With .env on the environment's servers.")] = False,
    as_json: Json = False,
) -> None:
    """In which variables two environments of a project differ, or an environment and its servers. Values are not
    shown."""
    if servers == (other is not None):
        raise ClientError("Give another environment, or --servers.", WRONG_USAGE)
    if servers:
        _diff_servers(project, environment, as_json=as_json)
        return
    found = Client().items(*_path(project, environment), "differences", other=other)
    if as_json:
        print_json(found)
        return
    words = {"changed": "differs", "only here": f"only in {environment}", "only there": f"only in {other}"}
    rows = [{"key": each["key"], "state": words[each["state"]]} for each in found]
    print_table(rows, {"key": "KEY", "state": "STATE"}, empty=f"{environment} and {other} have the same variables.")


@app.command("history")
def variables_history(
    project: Project,
    environment: Place = None,
    base: Base = False,
    key: Annotated[str, typer.Option(metavar="KEY", help="Only those of this variable.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Who set or removed which variable, the newest first."""
    found = Client().items(*_path(project, environment, base=base), "variable-changes", limit=limit, key=key)
    if as_json:
        print_json(found)
        return
    rows = [change | {"when": moment(change["at"])} for change in found]
    columns = {"when": "WHEN", "key": "KEY", "action": "WHAT", "kind": "KIND", "by": "BY", "id": "CHANGE"}
    print_table(rows, columns, empty="No variable was changed yet.")


@app.command("restore")
def variables_restore(
    project: Project,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[ENV] CHANGE", help="The environment (none with --base), and the change's id."),
    ],
    base: Base = False,
    as_json: Json = False,
) -> None:
    """Give a variable the value again that a change of the history gave it, or took away."""
    environment, changes = _split(words, base=base)
    if len(changes) != 1:
        raise ClientError("Give the id of one change; `devflow variables history` lists them.", WRONG_USAGE)
    path = _path(project, environment, base=base)
    _tell_set(Client().post(*path, "variable-changes", changes[0], "restore"), as_json=as_json)


@app.command("require")
def variables_require(
    project: Project,
    environment: Environment,
    off: Annotated[bool, typer.Option("--off", help="The plan only says so.")] = False,
    as_json: Json = False,
) -> None:
    """Fail deployments while a variable is missing that .env.example of the commit requires."""
    changed = Client().patch(*_path(project, environment), body={"requires_variables": not off})
    if as_json:
        print_json({"requires_variables": changed["requires_variables"]})
    else:
        print("A missing variable fails a deployment now." if not off else "A missing variable is only named now.")


def _path(project: str, environment: str | None, *, base: bool = False) -> tuple[str, ...]:
    if base and environment:
        raise ClientError("Name an environment, or give --base.", WRONG_USAGE)
    if not base and not environment:
        raise ClientError("Name the environment; or give --base for the project's own variables.", WRONG_USAGE)
    return ("projects", project, "environments", environment) if environment else ("projects", project)


def _split(words: list[str], *, base: bool, least: int = 1) -> tuple[str | None, list[str]]:
    """The environment, and what follows it; with --base there is no environment."""
    environment, rest = (None, words) if base else (words[0] if words else None, words[1:])
    if len(rest) < least:
        raise ClientError("Something is missing: name the environment (or --base), and what it is about.", WRONG_USAGE)
    return environment, rest


def _kind_of(client: Client, path: tuple[str, ...], key: str) -> str:
    """The kind that a variable keeps where none is given; '' of a new one."""
    return next((each["kind"] for each in client.items(*path, "variables") if each["key"] == key), "")


def _tell_set(answer: dict[str, list[str]], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(f"Set: {', '.join(answer['keys']) or 'nothing'}. It takes effect with the next deployment.")


def _diff_servers(project: str, environment: str, *, as_json: bool) -> None:
    client = Client()
    path = (*_path(project, environment), "comparison")
    before = client.post(*path)["at"]
    deadline = time.monotonic() + COMPARE_SECONDS
    while (found := client.get(*path))["at"] == before:
        if time.monotonic() > deadline:
            raise ClientError(f"The servers were not read within {COMPARE_SECONDS} s. Is a worker running?", FAILED)
        time.sleep(0.5)
    if as_json:
        print_json(found)
        return
    words = {"changed": "differs", "only_here": "not there", "only_there": "only there"}
    rows = [
        {"server": server["name"], "key": key, "state": words[state]}
        for server in found["servers"]
        for state in words
        for key in server[state]
    ]
    for server in found["servers"]:
        if server["error"]:
            tell(f"{server['name']}: {server['error']}")
    if rows or not any(server["error"] for server in found["servers"]):
        empty = f"The servers of {environment} have the same variables."
        print_table(rows, {"server": "SERVER", "key": "KEY", "state": "STATE"}, empty=empty)


def _write_private(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}.", WRONG_USAGE) from None
