"""Channels: where the team is told what happens."""

import time
from typing import Annotated, Any, Final

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, WRONG_USAGE, ClientError
from devflow.cli.output import Json, Yes, confirm, moment, print_fields, print_json, print_table, tell
from devflow.cli.secret_input import read_value

TEST_SECONDS: Final = 90.0
TEST_POLL_SECONDS: Final = 0.3

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Name or id of the channel.")]
Events = Annotated[
    str | None,
    typer.Option(help="Events that it is told of, separated by commas. `devflow channels kinds` lists them."),
]

app = typer.Typer(help="Channels: where the team is told what happens.", no_args_is_help=True)


@app.command("kinds")
def channel_kinds(as_json: Json = False) -> None:
    """The kinds of channels, their settings, and the events."""
    found = Client().get("channel-kinds")
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "kind": kind["kind"] if not number else "",
            "setting": setting["name"],
            "note": ", ".join(_notes(setting)),
            "help": setting["help"],
        }
        for kind in found["kinds"]
        for number, setting in enumerate(kind["settings"])
    ]
    print_table(rows, {"kind": "KIND", "setting": "SETTING", "note": "", "help": "WHAT IT IS"}, empty="No kind.")
    print()
    events = [event | {"default": "by default" if event["is_default"] else ""} for event in found["events"]]
    print_table(events, {"event": "EVENT", "title": "WHEN", "default": ""}, empty="No event.")


@app.command("add")
def channel_add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="slack, discord, teams, email or webhook.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="How the channel is called here.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SETTING=VALUE", help="A setting of the kind that is no secret; may be repeated."
        ),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project (slug).")] = None,
    events: Events = None,
    as_json: Json = False,
) -> None:
    """Add a channel. Its secret settings are asked for; scripts give the one that is needed on stdin."""
    client = Client()
    body: dict[str, Any] = {"kind": kind, "name": name, "project": project}
    body["settings"] = _settings(client, kind, settings or [])
    if events is not None:
        body["events"] = _listed(events)
    channel = client.post("channels", body=body)
    if as_json:
        print_json(channel)
        return
    print(f"{name} is added.")
    for setting, value in channel["generated"].items():
        print(f"Its {setting}, which cannot be shown again: {value}")
    tell(f"Then: devflow channels test '{name}'")


@app.command("list")
def channel_list(
    project: Annotated[str, typer.Option(help="Only those that are told of this project (slug).")] = "",
    as_json: Json = False,
) -> None:
    """The team's channels."""
    found = Client().items("channels", project=project)
    if as_json:
        print_json(found)
        return
    rows = [channel | {"project": channel["project"] or "all", "state": _state(channel)} for channel in found]
    columns = {"name": "NAME", "kind": "KIND", "address": "TO", "project": "PROJECT", "state": "STATE"}
    print_table(rows, columns, empty="No channel yet: `devflow channels add slack '#deployments'`.")


@app.command("show")
def channel_show(channel: Channel, as_json: Json = False) -> None:
    """A channel and the events that it is told of."""
    found = Client().get("channels", channel)
    if as_json:
        print_json(found)
        return
    fields = {name: found[name] for name in ("name", "id", "kind", "address", "project", "events", "problem")}
    print_fields(fields | {"state": _state(found), "added": moment(found["created_at"])})


@app.command("test")
def channel_test(channel: Channel, as_json: Json = False) -> None:
    """Send a test message; exit status 1 when it was not taken."""
    client = Client()
    delivery = client.post("channels", channel, "test")
    deadline = time.monotonic() + TEST_SECONDS
    while delivery["status"] in ("pending", "sending"):
        if time.monotonic() > deadline:
            raise ClientError(
                f"The test was not sent within {TEST_SECONDS:.0f} s. Does a worker run? See `devflow doctor`."
            )
        time.sleep(TEST_POLL_SECONDS)
        delivery = client.get("channels", channel, "deliveries", delivery["id"])
    if as_json:
        print_json(delivery)
    elif delivery["status"] == "sent":
        print(f"Sent. {delivery['error'] or ''}".rstrip())
    else:
        tell(f"Not sent: {delivery['error']}")
    if delivery["status"] != "sent":
        raise typer.Exit(FAILED)


@app.command("set")
def channel_set(
    channel: Channel,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")] = None,
    events: Events = None,
    as_json: Json = False,
) -> None:
    """Switch a channel on or off, or change the events that it is told of."""
    body: dict[str, Any] = {}
    if enabled is not None:
        body["is_enabled"] = enabled
    if events is not None:
        body["events"] = _listed(events)
    if not body:
        raise ClientError("Give --on, --off or --events.", WRONG_USAGE)
    found = Client().patch("channels", channel, body=body)
    if as_json:
        print_json(found)
    else:
        print(f"{found['name']} is changed.")


@app.command("deliveries")
def channel_deliveries(
    channel: Channel,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """What was or is to be sent on a channel, the newest first."""
    found = Client().items("channels", channel, "deliveries", limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [row | {"at": moment(row["created_at"])} for row in found]
    columns = {
        "id": "ID",
        "at": "WHEN",
        "title": "MESSAGE",
        "status": "STATUS",
        "attempts": "ATTEMPTS",
        "response_status": "ANSWER",
        "error": "ERROR",
    }
    print_table(rows, columns, empty=f"Nothing was sent yet: `devflow channels test '{channel}'`.")


@app.command("retry")
def channel_retry(
    channel: Channel,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
    as_json: Json = False,
) -> None:
    """Try a delivery that failed again now."""
    found = Client().post("channels", channel, "deliveries", delivery, "retry")
    if as_json:
        print_json(found)
    else:
        print(f"It is tried again: devflow channels deliveries '{channel}'")


@app.command("remove")
def channel_remove(channel: Channel, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a channel, and what was sent on it."""
    confirm(f"Remove the channel {channel}?", yes=yes or as_json)
    Client().delete("channels", channel)
    if as_json:
        print_json({"removed": channel})
    else:
        print(f"{channel} is removed.")


def _settings(client: Client, kind: str, pairs: list[str]) -> dict[str, Any]:
    """The settings as the panel describes them: secrets are read, never taken from the arguments."""
    kinds = {each["kind"]: each["settings"] for each in client.get("channel-kinds")["kinds"]}
    if kind not in kinds:
        raise ClientError(f"There is no kind {kind!r}; there are {', '.join(kinds)}.", WRONG_USAGE)
    described = {setting["name"]: setting for setting in kinds[kind]}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in described:
            raise ClientError(f"--set takes SETTING=VALUE; {kind} has {', '.join(described)}.", WRONG_USAGE)
        if described[name]["is_secret"]:
            raise ClientError(f"{name} is a secret: leave it out here, and it is asked for.", WRONG_USAGE)
        given[name] = value
    # A password is of use only with a user; what the panel makes by itself is not asked for.
    asked = [
        name
        for name, setting in described.items()
        if setting["is_secret"] and (setting["is_required"] or (name == "password" and given.get("user")))
    ]
    return given | {name: read_value(name).strip() for name in asked}


def _notes(setting: dict[str, Any]) -> list[str]:
    notes = {
        "needed": setting["is_required"],
        "secret": setting["is_secret"],
        "made by the panel": setting["is_generated"],
    }
    return [note for note, holds in notes.items() if holds] + [" | ".join(setting["choices"])] * bool(
        setting["choices"]
    )


def _state(channel: dict[str, Any]) -> str:
    if not channel["is_enabled"]:
        return "off"
    return f"refused: {channel['problem']}" if channel["problem"] else "on"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
