"""Lists and single objects of the API, in a panel with 5,000 projects, 100 servers and 100,000 deployments."""

from __future__ import annotations

from typing import Any

import httpx

from bench.filled import Filler
from bench.sizes import measure, pages_deep

GOAL_MS = 50
LIST = "?limit=50"
DEEP = 40
"""Pages on."""


def main() -> None:
    measure("api", who=_who, addresses=_addresses, goal_ms=GOAL_MS)


def _who(filler: Filler) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {filler.token}"}}


def _addresses(client: httpx.Client, there: dict[str, Any]) -> dict[str, str]:
    root = "/api/v1"
    project, deployments = f"{root}/projects/{there['project']}", f"{root}/deployments{LIST}"
    return {
        "projects": f"{root}/projects{LIST}",
        "projects, deep": pages_deep(client, f"{root}/projects{LIST}", DEEP),
        "project": project,
        "environment": f"{project}/environments/production",
        "environment, releases": f"{project}/environments/production/releases{LIST}",
        "environment, deployments": f"{project}/environments/production/deployments{LIST}",
        "servers": f"{root}/servers{LIST}",
        "server": f"{root}/servers/{there['server']}",
        "deployments": deployments,
        "deployments, deep": pages_deep(client, deployments, DEEP),
        "deployments, failed": f"{deployments}&status=failed",
        "deployments, cancelled (none)": f"{deployments}&status=cancelled",
        "deployments of a project": f"{deployments}&project={there['project']}",
        "deployment": f"{root}/deployments/{there['middle']}",
        "deployment, steps": f"{root}/deployments/{there['middle']}/steps",
        "deployment, log": f"{root}/deployments/{there['oldest']}/log",
    }
