"""API tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.output import Json, moment, print_json, print_table, tell

app = typer.Typer(help="API tokens.", no_args_is_help=True)


@app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scopes: Annotated[str, typer.Option(help="Any of read, deploy, admin, separated by commas.")] = "read",
    projects: Annotated[
        list[str] | None,
        typer.Option("--project", help="The only project that it is for; may be given more than once."),
    ] = None,
    of_team: Annotated[
        bool, typer.Option("--team", help="Make it the team's own, which stays when its maker leaves.")
    ] = False,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days until it stops working, at most 3650; else it does not.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it; it cannot be shown again. Needs a token with the scope admin."""
    body: dict[str, Any] = {"name": name, "scopes": [scope.strip() for scope in scopes.split(",") if scope.strip()]}
    body |= {"of_team": of_team} | ({"projects": projects} if projects else {})
    if expires_days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=expires_days)).isoformat()
    token = Client().post("tokens", body=body)
    if as_json:
        print_json(token)
    else:
        print(token["token"])
        tell("Keep it well: it cannot be shown again.")


@app.command("list")
def token_list(as_json: Json = False) -> None:
    """The tokens: the team's for owners and admins, one's own for others."""
    found = Client().items("tokens")
    if as_json:
        print_json(found)
        return
    times = ("created_at", "expires_at", "last_used_at")
    rows = [
        token
        | {name: moment(token[name]) for name in times}
        | {
            "user": token["user"] or "(the team)",
            "projects": "all" if token["projects"] is None else token["projects"] or "none",
            "last_used_address": token["last_used_address"] or "",
        }
        for token in found
    ]
    columns = {
        "id": "ID",
        "name": "NAME",
        "user": "USER",
        "prefix": "PREFIX",
        "scopes": "SCOPES",
        "projects": "PROJECTS",
        "created_at": "CREATED",
    }
    columns |= {"expires_at": "EXPIRES", "last_used_at": "LAST USED", "last_used_address": "FROM"}
    print_table(rows, columns, empty="No token.")


@app.command("revoke")
def token_revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="Id of the token.")], as_json: Json = False
) -> None:
    """Make a token stop working, at once."""
    Client().delete("tokens", token)
    if as_json:
        print_json({"revoked": token})
    else:
        print("The token is revoked.")
