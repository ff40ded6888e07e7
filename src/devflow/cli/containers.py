"""Containers of a server, with their images, volumes and networks; cleaning up; what projects take of the disks."""

import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

import httpx
import typer

from devflow.cli.client import RETRY_SECONDS, Client
from devflow.cli.errors import FAILED, ClientError
from devflow.cli.events import parse
from devflow.cli.names import Project
from devflow.cli.output import Json, Yes, confirm, log_text, moment, print_fields, print_json, print_table, tell

LOOK_SECONDS: Final = 60.0
ACT_SECONDS: Final = 300.0
PRUNE_SECONDS: Final = 1800.0
POLL_SECONDS: Final = 0.3
QUIET_SECONDS, FIRST_LINE_SECONDS = 1.0, 4.0

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Name of the server.")]
Container = Annotated[str, typer.Argument(metavar="CONTAINER", help="Name or id of the container.")]

app = typer.Typer(help="Containers on servers.", no_args_is_help=True)


@app.command("list")
def container_list(server: Server, as_json: Json = False) -> None:
    """The server's containers, looked at now."""
    client = Client()
    _look(client, server)
    containers = client.items("servers", server, "containers")
    if as_json:
        print_json(containers)
        return
    rows = [
        {
            "name": each["name"],
            "state": each["health"] or each["state"],
            "owner": " ".join(filter(None, (each["owner"]["words"], each["colour"], each["role"]))),
            "cpu": "" if each["cpu_percent"] is None else f"{each['cpu_percent']} %",
            "memory": _megabytes(each["memory_bytes"]),
            "restarts": each["restarts"],
            "ports": each["ports"],
            "image": each["image"],
        }
        for each in containers
    ]
    columns = {name: name.upper() for name in ("name", "state", "owner", "cpu", "memory", "restarts", "ports", "image")}
    print_table(rows, columns, empty=f"There are no containers on {server}.")


@app.command("inspect")
def container_inspect(server: Server, container: Container, as_json: Json = False) -> None:
    """A container, and how it was started. Secrets are masked."""
    client = Client()
    _look(client, server)
    found = client.get("servers", server, "containers", container)
    if as_json:
        print_json(found)
        return
    variables = [f"{each['name']}={each['value']}" for each in found.pop("environment")]
    mounts = [f"{each['source']} at {each['target']}" for each in found.pop("mounts")]
    owner = found.pop("owner")["words"]
    times = {name: moment(found.pop(name)) for name in ("created_at", "started_at")}
    print_fields({**found, **times, "owner": owner, "mounts": mounts, "environment": variables})


@app.command("logs")
def container_logs(
    server: Server,
    container: Container,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    tail: Annotated[int, typer.Option(help="So many of the last lines come first.")] = 200,
    as_json: Json = False,
) -> None:
    """The last lines of a container's log, and with --follow those that come. Secrets are masked."""
    if follow and as_json:
        raise typer.BadParameter("--json and --follow do not go together: leave one out")
    client = Client()
    _look(client, server)
    started = client.post("servers", server, "containers", container, "logs", body={"tail": tail})
    if follow:
        _follow(client, started["id"])
    else:
        lines = _lines_so_far(client, started["id"]).splitlines(keepends=True)
        text = "".join(lines[-tail:] if tail else [])
        if as_json:
            print_json({"server": server, "container": container, "log": text})
        else:
            print(log_text(text, colours=sys.stdout.isatty()), end="")


def _act(kind: str) -> Callable[..., None]:
    def command(
        server: Server,
        container: Container,
        as_json: Json = False,
    ) -> None:
        client = Client()
        _look(client, server)
        action = client.post("servers", server, "containers", container, kind)
        _tell_action(_wait(client, server, action, ACT_SECONDS), as_json=as_json)

    command.__doc__ = f"{kind.capitalize()} a container; exit status 1 where it does not come to be as it should."
    return command


app.command("restart")(_act("restart"))
app.command("start")(_act("start"))


@app.command("stop")
def container_stop(server: Server, container: Container, yes: Yes = False, as_json: Json = False) -> None:
    """Stop a container. One that serves a site now is stopped after a question, or with --yes."""
    client = Client()
    _look(client, server)
    found = client.get("servers", server, "containers", container)
    is_live = found["role"] == "live" and found["state"] == "running"
    if is_live:
        confirm(f"{found['name']} serves {found['owner']['words']} now. Stop it?", yes=yes)
    body = {"confirm": is_live and (yes or sys.stdin.isatty())}
    action = client.post("servers", server, "containers", container, "stop", body=body)
    _tell_action(_wait(client, server, action, ACT_SECONDS), as_json=as_json)


@app.command("images")
def image_list(server: Server, as_json: Json = False) -> None:
    """The server's images, with who owns and uses them."""
    _things(server, "images", as_json, lambda each: {"name": each["tags"] or [each["id"][7:19]]})


@app.command("volumes")
def volume_list(server: Server, as_json: Json = False) -> None:
    """The server's volumes, with who owns and uses them."""
    _things(server, "volumes", as_json, lambda each: {"name": each["name"]})


@app.command("networks")
def network_list(server: Server, as_json: Json = False) -> None:
    """The server's networks, with who owns and uses them."""
    _things(server, "networks", as_json, lambda each: {"name": each["name"]})


@app.command("prune")
def prune(
    server: Server,
    volumes: Annotated[bool, typer.Option("--volumes", help="Volumes too, of ours, that nothing names.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove containers and images of ours that are needed neither now nor to roll back. Shows them, and asks first."""
    client = Client()
    _look(client, server)
    preview = client.get("servers", server, "prune", volumes=volumes)
    if dry_run and as_json:
        print_json(preview)
        return
    rows = [
        {
            "kind": each["kind"],
            "name": each["names"] or [each["id"].removeprefix("sha256:")[:12]],
            "size": _megabytes(each["size_bytes"]),
            "why": each["why"],
        }
        for each in preview["items"]
    ]
    if not as_json:
        columns = {"kind": "KIND", "name": "NAME", "size": "SIZE", "why": "WHY"}
        print_table(rows, columns, empty="There is nothing to remove.")
        for held in preview["held"]:
            tell(f"Left out: {held}.")
    if dry_run or not rows:
        return
    confirm(f"Remove these {len(rows)}, about {_megabytes(preview['size_bytes'])}?", yes=yes)
    action = client.post("servers", server, "prune", body={"token": preview["token"]})
    _tell_action(_wait(client, server, action, PRUNE_SECONDS), as_json=as_json)


@app.command("disk")
def disk(
    project: Project,
    budget: Annotated[int | None, typer.Option(help="Set the budget, in MB; 0: none.")] = None,
    as_json: Json = False,
) -> None:
    """What a project takes of the servers' disks, and its budget."""
    client = Client()
    if budget is None:
        use = client.get("projects", project, "disk")
    else:
        use = client.put("projects", project, "disk", body={"budget_megabytes": budget})
    if as_json:
        print_json(use)
        return
    parts = ("images", "containers", "volumes", "folders")
    rows = [
        {
            "server": each["server"],
            **{part: _megabytes(each[f"{part}_bytes"]) for part in parts},
            "at": moment(each["at"]),
        }
        for each in use["servers"]
    ]
    print_table(rows, {name: name.upper() for name in ("server", *parts, "at")}, empty="It is on no server yet.")
    of = f" of {use['budget_megabytes']:,} MB" if use["budget_megabytes"] else ", no budget"
    print(f"{_megabytes(use['total_bytes'])}{of}{': over it' if use['is_over'] else ''}")


def _follow(client: Client, follow_id: str) -> None:
    """Prints lines as they come, until the log ends. Goes on where it was after a connection was lost."""
    seen, attempt = 0, 0
    while True:
        try:
            headers = {"Last-Event-ID": str(seen)}
            with client.stream("container-logs", follow_id, "events", headers=headers) as response:
                if response.status_code == HTTPStatus.NO_CONTENT:
                    return
                for event in parse(response.iter_bytes()):
                    seen, attempt = event.seq, 0
                    if event.kind == "container.log_ended":
                        tell(event.data["reason"])
                        return
                    print(log_text(event.data["text"], colours=sys.stdout.isatty()), end="", flush=True)
        except httpx.TransportError as error:
            if attempt == len(RETRY_SECONDS):
                raise client.unreachable(error) from None
        time.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        attempt += 1


def _lines_so_far(client: Client, follow_id: str) -> str:
    """What the log held already: read once nothing has come for a moment."""
    text = ""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < (QUIET_SECONDS if text else FIRST_LINE_SECONDS):
        time.sleep(POLL_SECONDS)
        now = client.text("container-logs", follow_id)
        if now != text:
            text, quiet_since = now, time.monotonic()
    return text


def _look(client: Client, server: str) -> dict[str, Any]:
    """Has the server looked at, and waits for that. Raises ClientError where it cannot be, and says what to do."""
    before = client.get("servers", server, "docker")
    found = before
    deadline = time.monotonic() + LOOK_SECONDS
    while found["taken_at"] == before["taken_at"]:
        if time.monotonic() > deadline:
            raise ClientError(f"{server} was not looked at within {LOOK_SECONDS:.0f} s. Does a worker run?")
        time.sleep(POLL_SECONDS)
        found = client.get("servers", server, "docker")
    if found["problem"]:
        raise ClientError(f"{found['problem']} {found['advice']}")
    return dict(found)


def _wait(client: Client, server: str, action: dict[str, Any], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while action["finished_at"] is None:
        if time.monotonic() > deadline:
            raise ClientError(f"It was not done within {seconds:.0f} s. Does a worker run? See `devflow doctor`.")
        time.sleep(POLL_SECONDS)
        action = client.get("servers", server, "container-actions", action["id"])
    return action


def _tell_action(action: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(action)
    else:
        print(action["message"])
        for each in action["result"]:
            if each["outcome"] == "kept":
                tell(f"kept {each['kind']} {each['id'].removeprefix('sha256:')[:12]}: {each['why']}")
    if action["state"] == "failed":
        raise typer.Exit(FAILED)


def _things(server: str, kind: str, as_json: bool, name: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    client = Client()
    _look(client, server)
    found = client.items("servers", server, kind)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            **name(each),
            "owner": each["owner"]["words"],
            "used_by": each["used_by"],
            "size": _megabytes(each.get("size_bytes")),
            "created": moment(each["created_at"]),
        }
        for each in found
    ]
    columns = {"name": "NAME", "owner": "OWNER", "used_by": "USED BY", "size": "SIZE", "created": "CREATED"}
    print_table(rows, columns, empty=f"There are no {kind} on {server}.")


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.1f} MB"
