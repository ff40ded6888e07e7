"""Log in to a panel; who one is; one's teams."""

import getpass
import ipaddress
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from devflow.cli.client import Client
from devflow.cli.credentials import Credentials, checked_token, checked_url, store_for_team, switch_team
from devflow.cli.output import Json, print_fields, print_json, print_table, tell

teams = typer.Typer(no_args_is_help=True)


@teams.callback()
def _teams() -> None:
    """Teams."""


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the panel.")], as_json: Json = False
) -> None:
    """Store the address and an API token, which is asked for, or read from stdin."""
    url = checked_url(url)
    if _is_in_clear(url):
        tell("Warning: the token travels unencrypted over http. Use https.")
    token = (
        getpass.getpass("API token (from the panel's page Tokens): ") if sys.stdin.isatty() else sys.stdin.readline()
    )
    credentials = Credentials(url, checked_token(token))
    who = Client(credentials).get("whoami")
    path = store_for_team(credentials, who["team"]["slug"])
    if as_json:
        print_json(who)
    else:
        print(f"Logged in as {who['email']}, {who['role']} of {who['team']['name']}. Stored in {path}.")


def whoami(as_json: Json = False) -> None:
    """Show whom the token speaks for, and its rights."""
    client = Client()
    who = client.get("whoami")
    if as_json:
        print_json(who)
    else:
        print_fields(who | {"team": who["team"]["name"], "panel": client.url})


@teams.command("list")
def team_list(as_json: Json = False) -> None:
    """The team that the token is of."""
    found = Client().items("teams")
    if as_json:
        print_json(found)
    else:
        print_table(found, {"slug": "SLUG", "name": "NAME", "is_current": "CURRENT"}, empty="No team.")


@teams.command("add")
def team_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the team.")], as_json: Json = False
) -> None:
    """Add a team, which you own. For the panel's administrators, with a token with the scope admin."""
    team = Client().post("teams", body={"name": name})
    if as_json:
        print_json(team)
    else:
        print(f"The team {team['slug']} is added. Make a token in it on the page Tokens.")


@teams.command("switch")
def team_switch(
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Slug of the team.")], as_json: Json = False
) -> None:
    """Work in another team from now on, with the token that `devflow login` stored for it."""
    credentials = switch_team(team)
    if as_json:
        print_json({"team": team, "panel": credentials.url})
    else:
        print(f"Commands are for the team {team} now.")


def _is_in_clear(url: str) -> bool:
    parts = urlsplit(url)
    try:
        is_local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_local = parts.hostname == "localhost"
    return parts.scheme == "http" and not is_local
