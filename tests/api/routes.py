"""Every operation of the API, taken from its description; parameters and bodies are filled from the tests' world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from devflow.api.urls import api
from tests.web.world import World

PREFIX = "/api/v1/"
ENVIRONMENT = "projects/shop/environments/production"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
_PARAMETER = re.compile(r"([^/{}]*)/\{(\w+)\}")
_SCHEMA = api.get_openapi_schema()

BODIES: dict[str, dict[str, Any]] = {
    "PATCH servers/{name}": {"host": "web1-new.example.test"},
    "POST servers": {"name": "web-9", "host": "web9.example.test"},
    "POST clusters": {"name": "others", "server": "spare-2"},
    "POST clusters/{cluster}/nodes": {"server": "spare-2"},
    "POST projects": {"slug": "blog", "repository": "/srv/git/blog.git"},
    "POST projects/{slug}/deploy": {"environment": "production"},
    "POST projects/{slug}/environments": {"name": "preview", "branch": "next", "servers": ["web-1"]},
    "POST projects/{slug}/environments/{name}/variables": {"values": {"APP_ENV": "production"}},
    "POST projects/{slug}/variables": {"values": {"A": "b"}},
    "POST channels": {"kind": "webhook", "name": "mine", "settings": {"url": "https://example.com/hook"}},
    "PATCH projects/{slug}/source": {"reports": False},
    "POST projects/{slug}/environments/{name}/promote": {"source": "production"},
    "POST projects/{slug}/access": {"email": "viewer@example.test", "actions": ["deploy"], "environment": "production"},
    "POST tokens": {"name": "ci", "scopes": ["read"]},
    "POST invitations": {"role": "viewer"},
    "PATCH members/{member_id}": {"role": "developer"},
    "PUT networks": {"networks": []},
    "PATCH team": {"requires_second_factor": False},
    "POST servers/{name}/containers/{container}/stop": {"confirm": True},
    "PUT projects/{slug}/webhook": {"provider": "gitlab"},
    "POST projects/{slug}/environments/{name}/proxy/adopt": {"server": "web-1"},
}
"""Bodies where what is generated from the description is not taken."""
QUERIES = {"GET projects/{slug}/environments/{name}/differences": "other=staging"}


@dataclass(frozen=True)
class Route:
    """An operation; `path` is a template without the prefix."""

    method: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def places(self) -> list[tuple[str, str]]:
        """Its parameters, each with the place that it stands in: `environments/{name}`."""
        return [(name, f"{before}/{{{name}}}") for before, name in _PARAMETER.findall(self.path)]

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        """Of its body."""
        schema = self._body_schema()
        return _resolved(schema).get("properties", {}) if schema else {}

    @property
    def queries(self) -> list[str]:
        found = _SCHEMA["paths"][PREFIX + self.path][self.method.lower()]["parameters"]
        return [each["name"] for each in found if each["in"] == "query" and each["name"] not in ("limit", "cursor")]

    def address(self, filling: dict[str, str]) -> str:
        """Fails, and says what to add, where the world has nothing to put in."""
        path = self.path
        for name, place in self.places:
            if place not in filling:
                pytest.fail(f"{self.name}: add {place!r} to `filling` in tests/api/routes.py, with what it names.")
            path = path.replace(f"{{{name}}}", quote(filling[place], safe=""), 1)
        return path

    def asked(self, filling: dict[str, str]) -> str:
        """The address with the query that it needs."""
        return f"{self.address(filling)}?{QUERIES.get(self.name, '')}".rstrip("?")

    def body(self) -> Any:
        """A body that is taken: the required fields by their examples and types, or what BODIES has; '' for none."""
        if self.name in BODIES:
            return BODIES[self.name]
        schema = self._body_schema()
        return _example(schema) if schema else ""

    def _body_schema(self) -> dict[str, Any] | None:
        operation = _SCHEMA["paths"][PREFIX + self.path][self.method.lower()]
        if "requestBody" not in operation:
            return None
        schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
        return schema["anyOf"][0] if "anyOf" in schema else schema


def routes() -> Iterator[Route]:
    """All but the streams, which are no operation of Django's (web/streams.py)."""
    for path, methods in _SCHEMA["paths"].items():
        for method in methods:
            if not path.endswith("/events"):
                yield Route(method.upper(), path.removeprefix(PREFIX))


def filling(world: World) -> dict[str, str]:
    """What stands for each parameter, by its place."""
    return {
        "projects/{slug}": "shop",
        "environments/{name}": "production",
        "servers/{name}": "web-1",
        "clusters/{cluster}": world.cluster.name,
        "nodes/{server}": "web-1",
        "services/{service}": "shop_web",
        "actions/{action_id}": str(world.cluster_action.pk),
        "deployments/{deployment_id}": str(world.deployment.pk),
        "deliveries/{delivery_id}": str(world.delivery.pk),
        "channels/{channel}": str(world.channel.pk),
        "deliveries/{delivery}": str(world.notification.pk),
        "tokens/{token_id}": str(world.token.pk),
        "invitations/{invitation_id}": str(world.invitation.pk),
        "members/{member_id}": str(world.member.pk),
        "access/{grant_id}": str(world.grant.pk),
        "variable-changes/{change}": str(world.change.pk),
        "variables/{key}": "APP_KEY",
        "audit/{event_id}": str(world.event.pk),
        "containers/{container}": world.container.name,
        "container-actions/{action_id}": str(world.container_action.pk),
        "container-logs/{follow_id}": str(world.follow.pk),
    }


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return _SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _example(schema: dict[str, Any]) -> Any:
    """The least that goes with the schema."""
    schema = _resolved(schema)
    if examples := schema.get("examples"):
        return examples[0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", [])
        return {name: _example(about) for name, about in schema.get("properties", {}).items() if name in required}
    if kind == "array":
        return [_example(schema["items"])]
    return {"string": "x", "integer": schema.get("minimum", 1), "number": 1, "boolean": True}.get(str(kind))
