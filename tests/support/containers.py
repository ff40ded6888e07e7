"""What a server's Docker had when it was looked at: recorded of Docker 26, and as the panel keeps it.

Labels and names are those that deployments give: ids are 32 hexadecimal digits there.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.utils import timezone
from django_scopes import scope

from devflow.apps.containers.models import Snapshot
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.commands import docker

RECORDED = Path(__file__).with_name("docker_look.txt").read_text("utf-8")
ENVIRONMENT = "0190aaaa000070008000000000000001"
"""The environment that the recorded labels name: its container shop-blue (deployment d3) is live, shop-old (d1) ended;
theirs is somebody else's."""


def image_of(environment: Environment, number: int) -> str:
    """The name of the recorded image that the deployment d1, d2 or d3 has built, of a commit that begins so."""
    return f"devflow/{environment.pk.hex}:c{number}0000000000-{number}a2b3c4d"


def look_of(environment: Environment, name: str = "shop", **deployments: str) -> docker.Look:
    """What was recorded, as if it were this environment's and called after `name`. `deployments` say which stands for
    d1, d2, d3."""
    text = RECORDED.replace("shop", name).replace(ENVIRONMENT, environment.pk.hex)
    for number, deployment in deployments.items():
        text = text.replace(f'"devflow.deployment":"{number}"', f'"devflow.deployment":"{deployment}"')
    return docker.parse_look(text)


def seen(server: Server, environment: Environment, name: str = "shop", **deployments: str) -> Snapshot:
    """The server was looked at just now, and had what was recorded."""
    found = look_of(environment, name, **deployments)
    content = {part: asdict(found)[part] for part in ("version", "images", "volumes", "networks", "roles")}
    masked = [
        docker.masked(row, (), is_ours=docker.ENVIRONMENT in row["labels"])  # as the job does it
        for row in found.containers
    ]
    now = timezone.now()
    kept: dict[str, Any] = {"content": {**content, "containers": masked}, "disk": found.disk, "disk_at": now}
    with scope(team=server.team):
        snapshot, _ = Snapshot.objects.update_or_create(
            server=server, defaults={"team": server.team, "taken_at": now, "asked_at": now, "seen_at": now, **kept}
        )
    return snapshot
