"""What the showcase's pages of servers, containers, webhooks, windows and hooks show."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its modules need Django to be set up
    from tests.support.showcase import Showcase

FOREIGN_SITE = """\
server {
    listen 80;
    server_name checkout.example.org;
    root /var/www/old-checkout;
    client_max_body_size 20m;
}
"""


def fill(made: Showcase) -> None:
    """In a transaction, in the team's scope; the fleet is there."""
    from devflow.apps.projects.selectors import environment_get, project_get

    production = environment_get(actor=made.owner, slug="checkout", name="production")
    _containers(made, production)
    _windows_and_hooks(made, production)
    _proxy(made, production)
    made.shown["delivery"] = _webhook(made, project_get(actor=made.owner, slug="checkout"))
    _cluster(made)


def _containers(made: Showcase, production: Any) -> None:
    """One server as it was seen; on another Docker does not run, on a third the panel may not ask it."""
    from devflow.apps.containers.models import Action, Snapshot
    from devflow.apps.containers.selectors import container_get
    from devflow.apps.servers.models import Server
    from tests.support.containers import seen

    web = Server.objects.get(name="fra-web-1")
    seen(web, production, name="checkout")
    row = container_get(actor=made.owner, server=web, container="checkout-blue")
    for kind, state, message in (
        ("restart", "failed", "checkout-blue did not start: its health check failed. Look at its log."),
        ("restart", "done", "checkout-blue was restarted."),
    ):
        Action.objects.create(
            **{"team": made.team, "server": web, "environment": production, "requested_by": made.people[1]},
            **{"kind": kind, "container_id": row.id, "container_name": row.name, "state": state, "message": message},
            finished_at=made.now,
        )
    for name, problem in (("fra-web-2", "stopped"), ("fra-web-3", "denied"), ("hel-web-2", "unreachable")):
        Snapshot.objects.update_or_create(
            server=Server.objects.get(name=name),
            defaults={"team": made.team, "problem": problem, "taken_at": made.now},
        )
    Snapshot.objects.update(asked_at=made.now + timedelta(days=36500))  # no worker is asked to look


def _windows_and_hooks(made: Showcase, production: Any) -> None:
    from devflow.apps.projects.hooks import hook_add
    from devflow.apps.projects.services import environment_update
    from devflow.apps.projects.windows import environment_freeze
    from devflow.core.windows import parse_window

    windows = [parse_window("mon-fri 08:00-17:00"), parse_window("sat 10:00-12:00")]
    settings: dict[str, Any] = {
        **{"windows": windows, "time_zone": "Europe/Berlin", "proxy": "nginx", "domains": ["checkout.example.org"]},
        **{"auto_deploy": True, "watch_paths": ["apps/shop/**"]},
    }
    environment_update(actor=made.owner, environment=production, **settings)
    end = made.now + timedelta(days=3)
    environment_freeze(actor=made.owner, environment=production, reason="Stock-taking", ends=f"{end:%Y-%m-%d}T18:00")
    begin = made.now + timedelta(days=30)
    holidays = {"begins": f"{begin:%Y-%m-%d}T00:00", "ends": f"{begin + timedelta(days=12):%Y-%m-%d}T06:00"}
    environment_freeze(actor=made.owner, environment=production, reason="The holidays", **holidays)
    for when, what, command, where in (
        ("before", "activate", "php artisan app:warm --all", "all"),
        ("after", "verify", "curl -fsS https://status.example.org/ping\n./bin/tell-the-team --quiet", "first"),
    ):
        hook_add(actor=made.owner, environment=production, when=when, what=what, command=command, where=where)


def _proxy(made: Showcase, production: Any) -> None:
    """As the panel wrote it, edited by hand, not to be read, and served by somebody else's file."""
    path = "/etc/nginx/sites-enabled/old-checkout"
    production.proxy_state = {
        "at": made.now.isoformat(),
        "servers": {
            "fra-web-1": {"state": "ours", "text": "", "upstream": ""},
            "fra-web-2": {"state": "edited", "upstream": "", **_file("# devflow\n" + FOREIGN_SITE)},
            "hel-web-2": {"error": "hel-web-2 cannot be reached: no answer from 203.0.113.22:22 in 10 s."},
            "fra-web-3": {
                "state": "absent",
                "text": "",
                "upstream": "",
                "foreign": [_file(FOREIGN_SITE, path)],
            },
        },
    }
    production.save(update_fields=["proxy_state"])


def _file(text: str, path: str = "") -> dict[str, str]:
    """As a look at a server keeps it."""
    return {"text": text, "sum": hashlib.sha256(text.encode()).hexdigest(), "path": path}


def _webhook(made: Showcase, project: Any) -> str:
    """The id of the delivery of a push that deployed; others deployed nothing, or were refused."""
    from devflow.apps.deployments.pushes import deliveries_take
    from devflow.apps.projects.services import project_source
    from devflow.apps.sources.models import Delivery
    from devflow.apps.sources.services import Request, webhook_set
    from tests.support.payloads import github_push, sent

    source = project_source(actor=made.owner, project=project)
    secret = webhook_set(actor=made.owner, source=source, provider="github")
    pushes = [
        ("Try a wider cart", "refs/heads/try/wider-cart", secret),
        ("Show the delivery date in the cart", "refs/heads/docs", secret),
        ("Forged", "refs/heads/main", "not the secret"),
    ]
    for number, (message, ref, signed_with) in enumerate(pushes):
        body, headers = sent("github", github_push(f"{0xC0FFEE + number:040x}", ref=ref, message=message), signed_with)
        deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])
    body, headers = sent("github", b"not JSON", secret)
    deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])
    first = Delivery.objects.filter(source=source, message=pushes[1][0])
    first.update(
        **{"ref": "refs/heads/main", "answer_status": 202, "answer": {"deployments": [made.shown["failed"]]}},
        received_at=made.now - timedelta(minutes=3),
    )
    return str(first.get().pk)


def _cluster(made: Showcase) -> None:
    """Three nodes, one of which is lost, and three services, one of which has too few replicas."""
    from devflow.apps.servers.clusters import cluster_form
    from devflow.apps.servers.models import Cluster, ClusterAction, Server

    names = ("fra-web-1", "fra-web-2", "hel-web-2")
    cluster_form(actor=made.owner, name="shops", server=Server.objects.get(name=names[0]))
    cluster = Cluster.objects.get(name="shops")
    nodes = [
        _node(names[0], "ready", "active", "manager", "leader"),
        _node(names[1], "ready", "drain", "manager", "reachable"),
        _node(names[2], "down", "active", "worker", ""),
    ]
    services = [
        _service("storefront_web", 3, 3, "registry.example.org/storefront:9c1f2ab", names[0]),
        _service("storefront_worker", 1, 2, "registry.example.org/storefront:9c1f2ab", names[0], "no suitable node"),
        _service("search", 1, 1, "opensearch:2.17", names[0]),
    ]
    for name in names:
        Server.objects.filter(name=name).update(cluster=cluster, node_id=f"node-{name}")
    Cluster.objects.filter(pk=cluster.pk).update(
        observed={"swarm": "s1", "nodes": nodes, "services": services}, observed_at=made.now
    )
    ClusterAction.objects.filter(cluster=cluster).update(status="done", message="fra-web-1 is its first manager.")


def _node(name: str, state: str, availability: str, role: str, manager: str) -> dict[str, Any]:
    told = {"id": f"node-{name}", "name": name, "state": state, "availability": availability}
    return told | {"role": role, "manager_status": manager, "engine": "26.1.5"}


def _service(name: str, running: int, wanted: int, image: str, node: str, error: str = "") -> dict[str, Any]:
    tasks = [
        {
            **{"id": f"{name}{number}", "name": f"{name}.{number}", "since": "3 minutes ago", "is_wanted": True},
            **{"node": node if number <= running else "", "state": "running" if number <= running else "pending"},
            **{"error": "" if number <= running else error, "image": image},
        }
        for number in range(1, wanted + 1)
    ]
    told = {"id": name, "name": name, "mode": "replicated", "image": image, "running": running, "wanted": wanted}
    return told | {"update": "completed", "message": "", "tasks": tasks}
