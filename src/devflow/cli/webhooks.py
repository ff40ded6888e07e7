"""A project's webhook: what its git provider tells the panel."""

import json
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.names import Project
from devflow.cli.output import Json, moment, print_fields, print_json, print_table, shown, tell

Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")]

app = typer.Typer(help="Webhooks: pushes that deploy by themselves.", no_args_is_help=True)


@app.command("show")
def webhook_show(project: Project, as_json: Json = False) -> None:
    """The webhook's address, and how it is set up at the provider."""
    webhook = Client().get("projects", project, "webhook")
    if as_json:
        print_json(webhook)
    elif webhook["provider"] is None:
        tell(f"No webhook yet: `devflow webhooks set {project} PROVIDER`.")
    else:
        _show(webhook)


@app.command("set")
def webhook_set(
    project: Project,
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="github, gitlab, gitea (Forgejo, Gogs too), bitbucket; '': off.")
    ],
    as_json: Json = False,
) -> None:
    """Take webhooks of this provider. A secret that is made is shown once. Needs a token with the scope admin."""
    webhook = Client().put("projects", project, "webhook", body={"provider": provider})
    if as_json:
        print_json(webhook)
    elif webhook["provider"] is None:
        print("No webhooks are taken any more.")
    else:
        _show(webhook)
        _tell_secret(webhook)


@app.command("rotate")
def webhook_rotate(project: Project, as_json: Json = False) -> None:
    """Make a new secret, shown once; the old one stops working at once. Needs a token with the scope admin."""
    webhook = Client().post("projects", project, "webhook", "rotate")
    if as_json:
        print_json(webhook)
    else:
        print_fields({"secret": webhook["secret"]})
        tell(f"{webhook['note']} The secret cannot be shown again.")


@app.command("deliveries")
def delivery_list(
    project: Project,
    delivery: Annotated[str | None, typer.Argument(metavar="[DELIVERY]", help="One of them, with all it has.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """What the provider sent, and what it was answered; the newest first."""
    client = Client()
    if delivery is not None:
        _show_delivery(client.get("projects", project, "deliveries", delivery), as_json=as_json)
        return
    found = client.items("projects", project, "deliveries", limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [each | {"at": moment(each["received_at"]), "told": _told(each), "pushed": _pushed(each)} for each in found]
    columns = {"id": "DELIVERY", "event": "EVENT", "pushed": "PUSHED", "at": "RECEIVED", "status": "STATUS"}
    columns |= {"told": "ANSWER"}
    refused = client.get("projects", project, "webhook")["refused"]
    if refused:
        tell(f"Refused for a wrong signature: {len(refused)}, the last at {moment(refused[0]['at'])}.")
    print_table(rows, columns, empty=f"Nothing came yet. See how it is set up: `devflow webhooks show {project}`.")


@app.command("redeliver")
def delivery_redeliver(project: Project, delivery: Delivery, as_json: Json = False) -> None:
    """Take what a delivery brought once more, by the settings of now."""
    again = Client().post("projects", project, "deliveries", delivery, "redeliver")
    if as_json:
        print_json(again)
    else:
        print(f"{again['status']}: {_told(again)}")


def _show(webhook: dict[str, Any]) -> None:
    print_fields({name: webhook[name] for name in ("provider", "url", "secret")})
    print()
    for number, step in enumerate(webhook["steps"], 1):
        print(f"{number}. {step}")


def _tell_secret(webhook: dict[str, Any]) -> None:
    if webhook["secret"]:
        tell("Give the secret to the provider now: it cannot be shown again.")


def _show_delivery(delivery: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(delivery)
        return
    facts = {name: delivery[name] for name in ("id", "event", "status", "redelivery_of")}
    facts["received"] = moment(delivery["received_at"])
    print_fields(facts | {"pushed": _pushed(delivery), "author": delivery["author"], "answer": _told(delivery)})
    print()
    print_fields(delivery["headers"])
    print(f"\n{_payload(delivery['payload'])}")


def _payload(text: str) -> str:
    """With its lines, where it is JSON; without anything that a terminal would obey."""
    try:
        return json.dumps(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        return shown(text)


def _pushed(delivery: dict[str, Any]) -> str:
    """`main 0123456789 Fix the checkout`."""
    parts = (delivery["ref"], (delivery["commit"] or "")[:10], (delivery["message"] or "")[:50])
    return shown(" ".join(filter(None, parts)))


def _told(delivery: dict[str, Any]) -> str:
    """`deploys 01a1…, 01a2… (superseded)`, or why nothing was deployed."""
    answer, outcomes = delivery["answer"], delivery["outcomes"]
    if "deployments" in answer:
        made = (each + " (superseded)" * (outcomes.get(each) == "superseded") for each in answer["deployments"])
        return f"deploys {', '.join(made)}"
    return shown(answer.get("ignored") or answer.get("error") or "")
