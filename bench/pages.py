"""Pages of a panel with 5,000 projects, 100 servers and 100,000 deployments, as the browser's request is answered."""

from __future__ import annotations

from typing import Any

import httpx

from bench.filled import Filler
from bench.sizes import measure

GOAL_MS = 200


def main() -> None:
    measure("pages", who=_who, addresses=_addresses, goal_ms=GOAL_MS)


def _who(filler: Filler) -> dict[str, Any]:
    return {"cookies": {"devflow_session": filler.session}}


def _addresses(client: httpx.Client, there: dict[str, Any]) -> dict[str, str]:
    project = f"/projects/{there['project']}/"
    return {
        "dashboard": "/",
        "dashboard, its cards alone": "/board/",
        "projects": "/projects/",
        "projects, deep": f"/projects/?after={there['project']}",
        "project": project,
        "environment": f"{project}environments/production/",
        "deployments": "/deployments/",
        "deployments, deep": f"/deployments/?before={there['middle']}",
        "deployments, failed": "/deployments/?status=failed",
        "deployments, by schedule (none)": "/deployments/?trigger=schedule",
        "deployment": f"/deployments/{there['newest']}/",
        "servers": "/servers/",
        "server": f"/servers/{there['server']}/",
    }
