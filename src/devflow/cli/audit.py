"""The audit log: who did what to what."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, WRONG_USAGE, ClientError
from devflow.cli.output import Json, moment, print_json, print_table, tell

app = typer.Typer(help="The audit log: who did what to what. Needs the right to read it.", no_args_is_help=True)

Who = Annotated[str, typer.Option(help="A part of the e-mail address, or of the token's name.")]
Action = Annotated[str, typer.Option(help="An action like token.created, or what stands before its dot.")]
Project = Annotated[str, typer.Option(help="Slug of a project.")]
Since = Annotated[str, typer.Option(help="From this time on, like 2026-11-21T10:00:00Z.")]
Until = Annotated[str, typer.Option(help="Before this time.")]
Address = Annotated[str, typer.Option(help="The beginning of the address.")]
Text = Annotated[str, typer.Option(help="Looked for in what was done, and to what.")]
Panel = Annotated[bool, typer.Option("--panel", help="The panel's own log, for who looks after the panel.")]


@app.command("list")
def audit_list(
    who: Who = "",
    action: Action = "",
    project: Project = "",
    since: Since = "",
    until: Until = "",
    address: Address = "",
    text: Text = "",
    panel: Panel = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """What was done, the newest first."""
    query = _query(who, action, project, since, until, address, text, panel)
    found = Client().items("audit", limit=limit, **query)
    if as_json:
        print_json(found)
        return
    rows = [event | {"at": moment(event["at"])} for event in found]
    columns = {"at": "WHEN", "who": "WHO", "action": "ACTION", "target": "ON", "outcome": "OUTCOME", "address": "FROM"}
    print_table(rows, columns, empty="No event.")


@app.command("export")
def audit_export(
    form: Annotated[str, typer.Option("--format", help="jsonl (which `verify` reads) or csv.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else it is printed.")] = None,
    who: Who = "",
    action: Action = "",
    project: Project = "",
    since: Since = "",
    until: Until = "",
    address: Address = "",
    text: Text = "",
    panel: Panel = False,
    as_json: Json = False,
) -> None:
    """All events in the order of the chain, as JSON lines or CSV; with --json as one list, or what was written."""
    query = _query(who, action, project, since, until, address, text, panel)
    if as_json and output is None:
        print_json(
            [json.loads(line) for line in Client().text("audit", "export", format="jsonl", **query).splitlines()]
        )
        return
    with Client().stream("audit", "export", format=form, **query) as answer:
        if output is None:
            for part in answer.iter_text():
                print(part, end="")
            return
        try:
            with output.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        except OSError as error:
            raise ClientError(f"{output} cannot be written: {error.strerror}.", WRONG_USAGE) from None
    if as_json:
        print_json({"file": str(output)})
    else:
        tell(f"Written to {output}.")


@app.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="An export in JSON lines.")] = None,
    panel: Panel = False,
    as_json: Json = False,
) -> None:
    """Recompute the chain: in the panel, or of an exported FILE, without the panel. Exits with 1 if it is not whole."""
    verdict = Client().get("audit", "verify", panel=panel) if file is None else _verify_file(file)
    if as_json:
        print_json(verdict)
    elif verdict["is_whole"]:
        print(f"The chain is whole: {verdict['events']} events, last hash {verdict['head']}.")
    for problem in [] if as_json else verdict["problems"]:
        print(problem)
    if not verdict["is_whole"]:
        raise typer.Exit(FAILED)


def _verify_file(path: Path) -> dict[str, Any]:
    from devflow.apps.audit import chain  # knows neither Django nor the panel's database

    verdict = chain.verify(_documents(path))
    return {
        "is_whole": not verdict.problems,
        "events": verdict.events,
        "erased": verdict.erased,
        "head": verdict.last_hash,
        "problems": verdict.problems,
    }


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                document = json.loads(line)
                if not isinstance(document, dict):
                    raise ValueError
                yield document
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.", WRONG_USAGE) from None
    except ValueError:
        advice = "Give an export in JSON lines."
        raise ClientError(f"{path}: line {max(number, 1)} is no event in JSON. {advice}", WRONG_USAGE) from None


def _query(
    who: str, action: str, project: str, since: str, until: str, address: str, text: str, panel: bool
) -> dict[str, Any]:
    """What is given, as the API takes it."""
    given: dict[str, Any] = {
        "who": who,
        "action": action,
        "project": project,
        "since": since,
        "until": until,
        "address": address,
        "text": text,
        "panel": panel or "",
    }
    return {name: value for name, value in given.items() if value}
