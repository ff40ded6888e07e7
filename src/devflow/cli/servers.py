"""Servers."""

import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, WRONG_USAGE, ClientError
from devflow.cli.names import Server
from devflow.cli.output import Json, Yes, confirm, moment, print_fields, print_json, print_table, shown, tell
from devflow.cli.secret_input import read_file

CHECK_SECONDS: Final = 60.0
CHECK_POLL_SECONDS: Final = 0.2

app = typer.Typer(help="Servers that projects are deployed to.", no_args_is_help=True)


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app.command("add")
def server_add(
    name: Server,
    host: Annotated[str | None, typer.Option(help="Host name or IP address.")] = None,
    port: Annotated[int, typer.Option(help="SSH port.")] = 22,
    user: Annotated[str, typer.Option(help="Login name on the server.")] = "root",
    key_file: Annotated[Path | None, typer.Option(help="Private SSH key without a passphrase; - for stdin.")] = None,
    generate_key: Annotated[
        bool, typer.Option("--generate-key", help="The panel makes a key; add it to the server.")
    ] = False,
    host_key: Annotated[
        str, typer.Option(help='The server\'s public host key ("ssh-ed25519 …"); else the first seen is kept.')
    ] = "",
    local: Annotated[bool, typer.Option("--local", help="The panel's own machine, instead of --host.")] = False,
    as_json: Json = False,
) -> None:
    """Add a server."""
    if local == bool(host):
        raise ClientError("Give either --host HOST or --local.", WRONG_USAGE)
    if host and generate_key == bool(key_file):
        raise ClientError("Give either --key-file FILE or --generate-key.", WRONG_USAGE)
    body: dict[str, Any] = {"name": name, "is_local": local}
    if host:
        key = read_file(key_file) if key_file else ""
        body |= {"host": host, "port": port, "user": user, "private_key": key, "host_key": host_key}
    server = Client().post("servers", body=body)
    if as_json:
        print_json(server)
        return
    print(f"{name} is added.")
    if generate_key and host:
        print(f"Let the panel in: on {host}, as {user}, run\n\n  {_authorize(server['public_key'])}\n")
    tell(f"Then: devflow servers check {name}")


@app.command("list")
def server_list(as_json: Json = False) -> None:
    """The team's servers."""
    servers = Client().items("servers")
    if as_json:
        print_json(servers)
        return
    rows = [server | {"checked": moment(server["checked_at"])} for server in servers]
    columns = {
        "name": "NAME",
        "address": "ADDRESS",
        "status": "STATUS",
        "checked": "CHECKED",
        "status_message": "MESSAGE",
    }
    print_table(rows, columns, empty="No server yet: `devflow servers add NAME --host HOST --generate-key`.")


@app.command("show")
def server_show(name: Server, as_json: Json = False) -> None:
    """A server, and what its last check read."""
    _show(Client().get("servers", name), as_json=as_json)


@app.command("check")
def server_check(name: Server, as_json: Json = False) -> None:
    """Check a server now; exit status 1 when it cannot be used."""
    client = Client()
    server = before = client.post("servers", name, "check")
    deadline = time.monotonic() + CHECK_SECONDS
    while server["checked_at"] == before["checked_at"]:
        if time.monotonic() > deadline:
            raise ClientError(
                f"{name} was not checked within {CHECK_SECONDS:.0f} s. Does a worker run? See `devflow doctor`."
            )
        time.sleep(CHECK_POLL_SECONDS)
        server = client.get("servers", name)
    _show(server, as_json=as_json)
    if server["status"] == "offline" or server["status_message"]:
        raise typer.Exit(FAILED)


@app.command("update")
def server_update(
    name: Server,
    host: Annotated[str | None, typer.Option(help="Host name or IP address.")] = None,
    port: Annotated[int | None, typer.Option(help="SSH port.")] = None,
    user: Annotated[str | None, typer.Option(help="Login name on the server.")] = None,
    as_json: Json = False,
) -> None:
    """Change where a server is reached, of what is given; it must show the host key that is pinned."""
    given = {"host": host, "port": port, "user": user}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise ClientError("Nothing to change was given. See `devflow servers update --help`.", WRONG_USAGE)
    server = Client().patch("servers", name, body=changes)
    if as_json:
        print_json(server)
        return
    print(f"{name} is reached at {server['address']} now.")
    tell(f"Then: devflow servers check {name}")


@app.command("maintenance")
def server_maintenance(
    name: Server, switch: Annotated[Switch, typer.Argument(metavar="on|off")], as_json: Json = False
) -> None:
    """Switch maintenance on or off; in it a server takes no deployments."""
    server = Client().post("servers", name, "maintenance", body={"on": switch is Switch.ON})
    if as_json:
        print_json(server)
    else:
        print(f"Maintenance of {name} is {switch}.")


@app.command("forget-host-key")
def server_forget_host_key(name: Server, yes: Yes = False, as_json: Json = False) -> None:
    """Forget the pinned host key, after the server was installed anew; the next contact pins the present one."""
    confirm(f"Trust whatever key {name} shows next?", yes=yes or as_json)
    server = Client().delete("servers", name, "host-key")
    if as_json:
        print_json(server)
    else:
        print(f"The host key of {name} is forgotten; it is being checked.")


@app.command("remove")
def server_remove(name: Server, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a server; nothing on it is changed."""
    confirm(f"Remove {name} from the panel?", yes=yes or as_json)
    Client().delete("servers", name)
    if as_json:
        print_json({"removed": name})
    else:
        print(f"{name} is removed.")


def _show(server: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(server)
        return
    names = {"status_message": "message", "host_key_fingerprint": "host key", "public_key": "panel's key"}
    fields = {
        names.get(name, name): server[name]
        for name in ("name", "address", "status", "status_message", "host_key_fingerprint", "public_key")
    }
    print_fields(
        fields
        | {"checked": moment(server["checked_at"])}
        | dict(_readable(name, fact) for name, fact in server["facts"].items())
    )


def _readable(name: str, fact: Any) -> tuple[str, str]:
    """What a check has read, for people: sizes in GiB, `up for` and the server's clock as times."""
    match name:
        case "memory_kb" | "memory_free_kb" | "disk_kb" | "disk_free_kb":
            return name.removesuffix("_kb").replace("_", " "), f"{fact / (1 << 20):.1f} GiB"
        case "uptime_seconds":
            return "up for", f"{fact // 86400} d {fact % 86400 // 3600} h {fact % 3600 // 60} min"
        case "time":
            return "clock", moment(datetime.fromtimestamp(fact, UTC).isoformat())
    return name.replace("_", " "), shown(fact)


def _authorize(public_key: str) -> str:
    keys = "~/.ssh/authorized_keys"
    return f"mkdir -p ~/.ssh && chmod 700 ~/.ssh && echo '{public_key}' >> {keys} && chmod 600 {keys}"
