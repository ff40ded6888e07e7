"""When an environment may be deployed: its windows and freezes."""

from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.names import Environment, Project
from devflow.cli.output import Json, print_fields, print_json, print_table, tell
from devflow.core.errors import InvalidError
from devflow.core.windows import parse_window

app = typer.Typer(help="Windows and freezes: when an environment may be deployed.", no_args_is_help=True)


@app.command("show")
def windows_show(project: Project, environment: Environment, as_json: Json = False) -> None:
    """Whether it is open now, when it opens next, all windows and freezes."""
    _show(Client().get("projects", project, "environments", environment, "windows"), as_json=as_json)


@app.command("set")
def windows_set(
    project: Project,
    environment: Environment,
    window: Annotated[
        list[str] | None,
        typer.Option("--window", metavar="TEXT", help="Like 'mon-fri 08:00-18:00'; may be repeated. Replaces all."),
    ] = None,
    time_zone: Annotated[str | None, typer.Option(metavar="ZONE", help="Like Europe/Berlin; UTC.")] = None,
    always: Annotated[bool, typer.Option("--always", help="No windows: it may be deployed at any time.")] = False,
    as_json: Json = False,
) -> None:
    """Set the windows, or the time zone that their times are of."""
    if always and window:
        raise ClientError("Give --window or --always, not both.", WRONG_USAGE)
    body: dict[str, Any] = {"time_zone": time_zone} if time_zone is not None else {}
    if window or always:
        body["windows"] = [_parsed(text) for text in window or []]
    if not body:
        raise ClientError("Nothing to change was given. See `devflow windows set --help`.", WRONG_USAGE)
    client = Client()
    client.patch("projects", project, "environments", environment, body=body)
    _show(client.get("projects", project, "environments", environment, "windows"), as_json=as_json)


@app.command("freeze")
def windows_freeze(
    project: Project,
    environment: Environment,
    reason: Annotated[str, typer.Option(help="Why; people who wait read it.")],
    begins: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Like '2026-12-20 18:00' in the environment's zone; now.")
    ] = "",
    ends: Annotated[str, typer.Option("--until", metavar="TIME", help="Without it: until it is lifted.")] = "",
    as_json: Json = False,
) -> None:
    """Let no deployment begin for some time; what is asked for meanwhile waits."""
    body = {"reason": reason, "begins": begins, "ends": ends}
    frozen = Client().post("projects", project, "environments", environment, "freezes", body=body)
    _show(frozen, as_json=as_json)


@app.command("unfreeze")
def windows_unfreeze(
    project: Project,
    environment: Environment,
    number: Annotated[
        int | None, typer.Option(help="Of the freeze, as `devflow windows show` has it; else all in force.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Lift a freeze; what waits begins."""
    client, where = Client(), ("projects", project, "environments", environment)
    query = {"number": number} if number is not None else {}
    over = [each["number"] for each in client.get(*where, "windows")["freezes"] if each["state"] == "over"]
    lifted = client.delete(*where, "freezes", **query)
    if number in over:
        tell("That freeze was over already; it is taken off the list.")
    _show(lifted, as_json=as_json)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return parse_window(text)
    except InvalidError as error:
        raise ClientError(str(error), WRONG_USAGE) from None


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    opens = document["next_opening_there"] or "not by itself: a freeze without end is in force"
    print_fields(
        {
            "state": "open" if document["is_open"] else f"closed: {document['reason']}",
            "next opening": "" if document["is_open"] else opens,
            "windows": "; ".join(document["texts"]) or "none: open at any time but for freezes",
            "time zone": document["time_zone"],
        }
    )
    if document["freezes"]:
        print()
        columns = {"number": "NUMBER", "state": "STATE", "begins": "FROM", "ends": "UNTIL", "reason": "REASON"}
        print_table(document["freezes"], columns, empty="")
