"""Clusters: Docker Swarms of servers."""

import time
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, ClientError
from devflow.cli.names import Server
from devflow.cli.output import Json, Yes, confirm, moment, print_fields, print_json, print_table, tell

ACTION_SECONDS: Final = 600.0
ACTION_POLL_SECONDS: Final = 0.3

app = typer.Typer(help="Clusters: Docker Swarms of servers.", no_args_is_help=True)

Cluster = Annotated[str, typer.Argument(metavar="CLUSTER", help="Name of the cluster.")]
Address = Annotated[str, typer.Option(help="How the other nodes reach it; else Docker finds it.")]


class NodeRole(StrEnum):
    MANAGER = "manager"
    WORKER = "worker"


@app.command("form")
def cluster_form(cluster: Cluster, server: Server, address: Address = "", as_json: Json = False) -> None:
    """Form a cluster, with a server as its first manager."""
    client = Client()
    _wait(client, client.post("clusters", body={"name": cluster, "server": server, "address": address}), as_json)


@app.command("list")
def cluster_list(as_json: Json = False) -> None:
    """The team's clusters."""
    clusters = Client().items("clusters")
    if as_json:
        print_json(clusters)
        return
    rows = [
        {
            **cluster,
            "servers": ", ".join(cluster["servers"]),
            "services": len(cluster["services"]),
            "seen": moment(cluster["observed_at"]),
        }
        for cluster in clusters
    ]
    columns = {"name": "NAME", "servers": "SERVERS", "services": "SERVICES", "seen": "SEEN", "problem": "PROBLEM"}
    print_table(rows, columns, empty="No cluster yet: `devflow clusters form NAME SERVER`.")


@app.command("show")
def cluster_show(cluster: Cluster, as_json: Json = False) -> None:
    """A cluster's nodes and services, as its managers see them now."""
    client = Client()
    _ended(client, client.post("clusters", cluster, "look"))
    shown = client.get("clusters", cluster)
    if as_json:
        print_json(shown)
        return
    print_fields({"name": shown["name"], "seen": moment(shown["observed_at"]), "problem": shown["problem"]})
    nodes = [
        {**node, "server": node["server"] or node["name"], "tasks": ", ".join(node["tasks"])} for node in shown["nodes"]
    ]
    names = {"server": "NODE", "state": "STATE", "availability": "AVAILABILITY", "role": "ROLE", "tasks": "TASKS"}
    print()
    print_table(nodes, names, empty="No node yet.")
    services = [{**service, "replicas": f"{service['running']}/{service['wanted']}"} for service in shown["services"]]
    print()
    columns = {"name": "SERVICE", "replicas": "RUNNING", "image": "IMAGE", "update": "UPDATE"}
    print_table(services, columns, empty="No service yet.")


@app.command("join")
def node_join(
    cluster: Cluster,
    server: Server,
    role: Annotated[NodeRole, typer.Option(help="manager or worker.")] = NodeRole.WORKER,
    address: Address = "",
    as_json: Json = False,
) -> None:
    """Make a server a node of the cluster."""
    client = Client()
    body = {"server": server, "role": role.value, "address": address}
    _wait(client, client.post("clusters", cluster, "nodes", body=body), as_json)


@app.command("leave")
def node_leave(
    cluster: Cluster,
    server: Server,
    force: Annotated[
        bool, typer.Option("--force", help="Also a server that cannot be reached; the last node with its services.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take a server out of the cluster, once its tasks run elsewhere."""
    confirm(f"Take {server} out of {cluster}?", yes=yes or as_json)
    client = Client()
    query = {"force": "true"} if force else {}
    _wait(client, client.delete("clusters", cluster, "nodes", server, **query), as_json)


@app.command("drain")
def node_drain(cluster: Cluster, server: Server, as_json: Json = False) -> None:
    """Move a node's tasks to the other nodes, and let no new ones in."""
    client = Client()
    _wait(client, client.post("clusters", cluster, "nodes", server, "drain"), as_json)


@app.command("activate")
def node_activate(cluster: Cluster, server: Server, as_json: Json = False) -> None:
    """Let tasks in again."""
    client = Client()
    _wait(client, client.post("clusters", cluster, "nodes", server, "activate"), as_json)


@app.command("scale")
def service_scale(
    cluster: Cluster,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the service in the swarm: shop_web.")],
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", help="How many shall run.", min=0)],
    as_json: Json = False,
) -> None:
    """Set how many replicas of a service run; wait until they do."""
    client = Client()
    _ended(client, client.post("clusters", cluster, "look"))  # it may have come only now
    action = client.post("clusters", cluster, "services", service, "scale", body={"replicas": replicas})
    _wait(client, action, as_json)


@app.command("remove")
def cluster_remove(cluster: Cluster, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a cluster without servers."""
    confirm(f"Remove {cluster} from the panel?", yes=yes or as_json)
    Client().delete("clusters", cluster)
    if as_json:
        print_json({"removed": cluster})
    else:
        print(f"{cluster} is removed.")


def _wait(client: Client, action: dict[str, Any], as_json: bool) -> None:
    """Until the action has ended; exit status 1 where it failed."""
    ended = _ended(client, action)
    if as_json:
        print_json(ended)
    elif ended["status"] == "done":
        print(ended["message"])
    else:
        tell(ended["message"])
    if ended["status"] == "failed":
        raise typer.Exit(FAILED)


def _ended(client: Client, action: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + ACTION_SECONDS
    while action["status"] not in ("done", "failed"):
        if time.monotonic() > deadline:
            raise ClientError("It is still under way; its cluster's page shows how it ends. Does a worker run?")
        time.sleep(ACTION_POLL_SECONDS)
        action = client.get("clusters", action["cluster"], "actions", action["id"])
    return action
