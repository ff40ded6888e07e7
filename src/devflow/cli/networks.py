"""From where a team may be reached."""

from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.output import Json, print_json

app = typer.Typer(help="From where the team may be reached.", no_args_is_help=True)


@app.command("show")
def networks_show(as_json: Json = False) -> None:
    """The addresses and networks that the team's members and tokens may come from."""
    _tell(Client().get("networks"), as_json)


@app.command("set")
def networks_set(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK…", help="Addresses and networks.")],
    confirm: Annotated[bool, typer.Option("--confirm", help="also where one's own address is not among them")] = False,
    as_json: Json = False,
) -> None:
    """Let the team be reached from these addresses and networks only."""
    _tell(Client().put("networks", body={"networks": networks, "is_confirmed": confirm}), as_json)


@app.command("clear")
def networks_clear(as_json: Json = False) -> None:
    """Let the team be reached from everywhere."""
    _tell(Client().put("networks", body={"networks": []}), as_json)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print("\n".join(found["networks"]) or "The team may be reached from everywhere.")
