"""Log in to a panel; who one is; one's teams."""

import getpass
import ipaddress
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from devflow.cli.client import Client
from devflow.cli.credentials import Credentials, checked_token, checked_url, store
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
    path = store(credentials)
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


def _is_in_clear(url: str) -> bool:
    parts = urlsplit(url)
    try:
        is_local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_local = parts.hostname == "localhost"
    return parts.scheme == "http" and not is_local
