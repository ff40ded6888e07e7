"""Every operation of the API, as it is asked in the tests that hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

READ, DEPLOY, MANAGE = "read", "deploy", "manage"
ENVIRONMENT = "projects/shop/environments/production"


@dataclass(frozen=True)
class Route:
    """`path` names what is in the tests' world; `{deployment}` and `{token}` are put in. `status` is a success's.

    `is_own` is False where there is nothing of a team in the address that an outsider could name.
    """

    method: str
    path: str
    status: int
    right: str = READ
    body: Any = ""
    is_own: bool = True
    template: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = [
    Route("GET", "whoami", 200, is_own=False),
    Route("GET", "teams", 200, is_own=False),
    Route("GET", "members", 200, is_own=False),
    Route("GET", "tokens", 200, is_own=False),
    Route("POST", "tokens", 201, MANAGE, {"name": "ci", "scopes": ["read"]}, is_own=False),
    Route("DELETE", "tokens/{token}", 204, MANAGE, template="tokens/{token_id}"),
    Route("GET", "servers", 200, is_own=False),
    Route("POST", "servers", 201, MANAGE, {"name": "web2", "host": "web2.example.test"}, is_own=False),
    Route("GET", "servers/web1", 200, template="servers/{name}"),
    Route("DELETE", "servers/spare", 204, MANAGE, template="servers/{name}"),
    Route("POST", "servers/web1/check", 202, DEPLOY, template="servers/{name}/check"),
    Route("POST", "servers/web1/maintenance", 200, MANAGE, {"on": True}, template="servers/{name}/maintenance"),
    Route("DELETE", "servers/web1/host-key", 202, MANAGE, template="servers/{name}/host-key"),
    Route("GET", "projects", 200, is_own=False),
    Route("POST", "projects", 201, MANAGE, {"slug": "blog", "repository": "/srv/git/blog.git"}, is_own=False),
    Route("GET", "projects/shop", 200, template="projects/{slug}"),
    Route("PATCH", "projects/shop", 200, MANAGE, {"name": "The shop"}, template="projects/{slug}"),
    Route("DELETE", "projects/empty", 204, MANAGE, template="projects/{slug}"),
    Route(
        "POST", "projects/shop/deploy", 202, DEPLOY, {"environment": "production"}, template="projects/{slug}/deploy"
    ),
    Route("GET", "projects/shop/environments", 200, template="projects/{slug}/environments"),
    Route(
        "POST",
        "projects/shop/environments",
        201,
        MANAGE,
        {"name": "preview", "branch": "next", "servers": ["web1"]},
        template="projects/{slug}/environments",
    ),
    Route("GET", ENVIRONMENT, 200, template="projects/{slug}/environments/{name}"),
    Route("PATCH", ENVIRONMENT, 200, MANAGE, {"keep": 7}, template="projects/{slug}/environments/{name}"),
    Route("DELETE", "projects/shop/environments/staging", 204, MANAGE, template="projects/{slug}/environments/{name}"),
    Route("GET", f"{ENVIRONMENT}/plan", 200, template="projects/{slug}/environments/{name}/plan"),
    Route("GET", f"{ENVIRONMENT}/releases", 200, template="projects/{slug}/environments/{name}/releases"),
    Route("GET", f"{ENVIRONMENT}/deployments", 200, template="projects/{slug}/environments/{name}/deployments"),
    Route(
        "POST",
        f"{ENVIRONMENT}/deployments",
        202,
        DEPLOY,
        {},
        template="projects/{slug}/environments/{name}/deployments",
    ),
    Route("POST", f"{ENVIRONMENT}/rollback", 202, DEPLOY, {}, template="projects/{slug}/environments/{name}/rollback"),
    Route("GET", f"{ENVIRONMENT}/variables", 200, template="projects/{slug}/environments/{name}/variables"),
    Route(
        "POST",
        f"{ENVIRONMENT}/variables",
        201,
        MANAGE,
        {"values": {"APP_ENV": "production"}},
        template="projects/{slug}/environments/{name}/variables",
    ),
    Route(
        "DELETE",
        f"{ENVIRONMENT}/variables/APP_KEY",
        204,
        MANAGE,
        template="projects/{slug}/environments/{name}/variables/{key}",
    ),
    Route("GET", f"{ENVIRONMENT}/dotenv", 200, MANAGE, template="projects/{slug}/environments/{name}/dotenv"),
    Route(
        "POST",
        f"{ENVIRONMENT}/dotenv",
        201,
        MANAGE,
        {"text": "A=1\n"},
        template="projects/{slug}/environments/{name}/dotenv",
    ),
    Route(
        "GET",
        f"{ENVIRONMENT}/differences?other=staging",
        200,
        template="projects/{slug}/environments/{name}/differences",
    ),
    Route("GET", f"{ENVIRONMENT}/comparison", 200, template="projects/{slug}/environments/{name}/comparison"),
    Route("POST", f"{ENVIRONMENT}/comparison", 202, DEPLOY, template="projects/{slug}/environments/{name}/comparison"),
    Route(
        "GET", f"{ENVIRONMENT}/variable-changes", 200, template="projects/{slug}/environments/{name}/variable-changes"
    ),
    Route(
        "POST",
        f"{ENVIRONMENT}/variable-changes/{{change}}/restore",
        201,
        MANAGE,
        template="projects/{slug}/environments/{name}/variable-changes/{change}/restore",
    ),
    Route("GET", "projects/shop/variables", 200, template="projects/{slug}/variables"),
    Route("POST", "projects/shop/variables", 201, MANAGE, {"values": {"A": "b"}}, template="projects/{slug}/variables"),
    Route("DELETE", "projects/shop/variables/MAIL_HOST", 204, MANAGE, template="projects/{slug}/variables/{key}"),
    Route("GET", "projects/shop/dotenv", 200, MANAGE, template="projects/{slug}/dotenv"),
    Route("POST", "projects/shop/dotenv", 201, MANAGE, {"text": "A=1\n"}, template="projects/{slug}/dotenv"),
    Route("GET", "projects/shop/variable-changes", 200, template="projects/{slug}/variable-changes"),
    Route(
        "POST",
        "projects/shop/variable-changes/{base_change}/restore",
        201,
        MANAGE,
        template="projects/{slug}/variable-changes/{change}/restore",
    ),
    Route("GET", "projects/shop/source", 200, template="projects/{slug}/source"),
    Route("PATCH", "projects/shop/source", 200, MANAGE, {"reports": False}, template="projects/{slug}/source"),
    Route("POST", "projects/shop/source/test", 200, MANAGE, template="projects/{slug}/source/test"),
    Route("POST", "projects/shop/source/webhook", 202, MANAGE, template="projects/{slug}/source/webhook"),
    Route("GET", "deployments/{deployment}/reports", 200, template="deployments/{deployment_id}/reports"),
    Route("GET", "projects/shop/webhook", 200, template="projects/{slug}/webhook"),
    Route("PUT", "projects/shop/webhook", 200, MANAGE, {"provider": "gitlab"}, template="projects/{slug}/webhook"),
    Route("POST", "projects/shop/webhook/rotate", 200, MANAGE, template="projects/{slug}/webhook/rotate"),
    Route("GET", "projects/shop/deliveries", 200, template="projects/{slug}/deliveries"),
    Route("GET", "projects/shop/deliveries/{delivery}", 200, template="projects/{slug}/deliveries/{delivery_id}"),
    Route(
        "POST",
        "projects/shop/deliveries/{delivery}/redeliver",
        201,
        DEPLOY,
        template="projects/{slug}/deliveries/{delivery_id}/redeliver",
    ),
    Route("GET", "channel-kinds", 200, is_own=False),
    Route("GET", "channels", 200, is_own=False),
    Route(
        "POST",
        "channels",
        201,
        MANAGE,
        {"kind": "webhook", "name": "mine", "settings": {"url": "https://example.com/hook"}},
        is_own=False,
    ),
    Route("GET", "channels/{channel}", 200),
    Route("PATCH", "channels/{channel}", 200, MANAGE, {"name": "other"}, template="channels/{channel}"),
    Route("DELETE", "channels/{channel}", 204, MANAGE),
    Route("POST", "channels/{channel}/test", 202, MANAGE),
    Route("GET", "channels/{channel}/deliveries", 200),
    Route("GET", "channels/{channel}/deliveries/{message}", 200, template="channels/{channel}/deliveries/{delivery}"),
    Route(
        "POST",
        "channels/{channel}/deliveries/{message}/retry",
        202,
        MANAGE,
        template="channels/{channel}/deliveries/{delivery}/retry",
    ),
    Route("GET", "deployments", 200, is_own=False),
    Route("GET", "deployments/{deployment}", 200, template="deployments/{deployment_id}"),
    Route("GET", "deployments/{deployment}/steps", 200, template="deployments/{deployment_id}/steps"),
    Route("GET", "deployments/{planned}/plan", 200, template="deployments/{deployment_id}/plan"),
    Route("GET", "deployments/{deployment}/log", 200, template="deployments/{deployment_id}/log"),
    Route("POST", "deployments/{deployment}/cancel", 202, DEPLOY, template="deployments/{deployment_id}/cancel"),
    Route("GET", f"{ENVIRONMENT}/windows", 200, template="projects/{slug}/environments/{name}/windows"),
    Route(
        "POST",
        f"{ENVIRONMENT}/freezes",
        201,
        MANAGE,
        {"reason": "Fair"},
        template="projects/{slug}/environments/{name}/freezes",
    ),
    Route(
        "DELETE",
        "projects/shop/environments/frozen/freezes",
        200,
        MANAGE,
        template="projects/{slug}/environments/{name}/freezes",
    ),
    Route(
        "POST",
        "deployments/{waiting}/override",
        202,
        MANAGE,
        {"reason": "Fixes the checkout"},
        template="deployments/{deployment_id}/override",
    ),
    Route("POST", "deployments/{released}/rollback", 202, DEPLOY, template="deployments/{deployment_id}/rollback"),
]
