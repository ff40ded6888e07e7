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

Language = Annotated[
    str | None, typer.Option(metavar="en|de", help="In which language the messages are; at first English.")
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
    language: Language = None,
    as_json: Json = False,
) -> None:
    """Add a channel. Its secret settings are asked for; scripts give the one that is needed on stdin."""
    client = Client()
    body: dict[str, Any] = {"kind": kind, "name": name, "project": project}
    body["settings"] = _settings(client, kind, settings or [])
    if events is not None:
        body["events"] = _listed(events)
    if language is not None:
        body["language"] = language
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
    shown = ("name", "id", "kind", "address", "project", "events", "language", "problem")
    fields = {name: found[name] for name in shown}
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


@app.command("update")
@app.command("set", hidden=True)
def channel_update(
    channel: Channel,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")] = None,
    events: Events = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    language: Language = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SETTING=VALUE", help="A setting that is no secret; may be repeated."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(metavar="SETTING", help="A secret setting, like url: asked for, or read from stdin."),
    ] = None,
    forget: Annotated[str | None, typer.Option(metavar="SETTING", help="Forget a secret, like password.")] = None,
    as_json: Json = False,
) -> None:
    """Change what is given: switch it on or off, its name, events, address and settings."""
    client = Client()
    body: dict[str, Any] = {"is_enabled": enabled, "name": name, "language": language}
    body |= {"events": _listed(events) if events is not None else None}
    if settings or secret or forget:
        kind = client.get("channels", channel)["kind"]
        body["settings"] = _changed_settings(client, kind, settings or [], secret=secret, forget=forget)
    body = {key: value for key, value in body.items() if value is not None}
    if not body:
        raise ClientError("Nothing to change was given. See `devflow channels update --help`.", WRONG_USAGE)
    found = client.patch("channels", channel, body=body)
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
    described = _described(client, kind)
    given = _given(kind, described, pairs, advice="leave it out here, and it is asked for")
    # A password is of use only with a user; what the panel makes by itself is not asked for.
    asked = [
        name
        for name, setting in described.items()
        if setting["is_secret"] and (setting["is_required"] or (name == "password" and given.get("user")))
    ]
    return given | {name: read_value(name).strip() for name in asked}


def _changed_settings(
    client: Client, kind: str, pairs: list[str], *, secret: str | None, forget: str | None
) -> dict[str, Any]:
    described = _described(client, kind)
    given = _given(kind, described, pairs, advice="give it by --secret")
    secrets = [name for name, setting in described.items() if setting["is_secret"]]
    for option, name in (("--secret", secret), ("--forget", forget)):
        if name is not None and name not in secrets:
            raise ClientError(f"{option} takes a secret setting; {kind} has {', '.join(secrets)}.", WRONG_USAGE)
    if secret is not None:
        given[secret] = read_value(secret).strip()
    return given | ({forget: None} if forget is not None else {})


def _described(client: Client, kind: str) -> dict[str, dict[str, Any]]:
    """The settings of a kind by their names."""
    kinds = {each["kind"]: each["settings"] for each in client.get("channel-kinds")["kinds"]}
    if kind not in kinds:
        raise ClientError(f"There is no kind {kind!r}; there are {', '.join(kinds)}.", WRONG_USAGE)
    return {setting["name"]: setting for setting in kinds[kind]}


def _given(kind: str, described: dict[str, dict[str, Any]], pairs: list[str], *, advice: str) -> dict[str, Any]:
    """The settings of SETTING=VALUE; `advice` is for a secret among them."""
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in described:
            raise ClientError(f"--set takes SETTING=VALUE; {kind} has {', '.join(described)}.", WRONG_USAGE)
        if described[name]["is_secret"]:
            raise ClientError(f"{name} is a secret: {advice}.", WRONG_USAGE)
        given[name] = value
    return given


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
    if channel["problem"]:
        return f"refused: {channel['problem']}"
    since = channel["failing_since"]
    return f"failing since {moment(since)}, {channel['pending']} pending" if since else "on"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
