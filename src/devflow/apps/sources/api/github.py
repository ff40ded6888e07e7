"""GitHub's REST API, also of GitHub Enterprise Server."""

from __future__ import annotations

from devflow.apps.sources.api.base import (
    CANCELLED,
    FAILURE,
    PENDING,
    SUCCESS,
    WAITING,
    Access,
    ProviderApi,
    State,
    cut,
    hook_at,
    id_of,
    require_success,
)
from devflow.core.errors import OutgoingError

_DESCRIPTION = 140
_STATUS = {WAITING: "pending", PENDING: "pending", SUCCESS: "success", FAILURE: "failure", CANCELLED: "error"}
_DEPLOYMENT = {
    WAITING: "queued",
    PENDING: "in_progress",
    SUCCESS: "success",
    FAILURE: "failure",
    CANCELLED: "inactive",
}
EVENTS = ("push", "delete")


class GitHubApi(ProviderApi):
    title = "GitHub"
    public_host = "github.com"
    public_url = "https://api.github.com"
    path = "/api/v3"
    token_help = (
        "A fine-grained token for this repository that may read and write commit statuses, deployments and webhooks, "
        "and contents where tags are made."
    )
    has_deployments = True

    def headers(self, token: str) -> dict[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    async def check(self, access: Access) -> str:
        return id_of(await self.do(access, "GET", f"/repos/{access.path}"), "full_name")

    async def set_status(self, access: Access, state: State) -> None:
        body = {
            "state": _STATUS[state.state],
            "target_url": state.url,
            "description": cut(state.description, _DESCRIPTION),
            "context": state.context,
        }
        await self.do(access, "POST", f"/repos/{access.path}/statuses/{state.commit}", body)

    async def make_deployment(self, access: Access, state: State) -> str:
        body = {
            "ref": state.commit,
            "task": "deploy",
            "auto_merge": False,
            "required_contexts": [],  # whether checks have to pass is decided before
            "environment": state.environment,
            "description": cut(state.description, _DESCRIPTION),
        }
        made = id_of(await self.do(access, "POST", f"/repos/{access.path}/deployments", body))
        if not made:
            raise OutgoingError(f"{self.title} made a deployment and did not say which.")
        return made

    async def set_deployment(self, access: Access, state: State, deployment_id: str) -> None:
        told = {
            "state": _DEPLOYMENT[state.state],
            "log_url": state.url,
            "description": cut(state.description, _DESCRIPTION),
            "environment": state.environment,
            "auto_inactive": True,
        }
        await self.do(access, "POST", f"/repos/{access.path}/deployments/{deployment_id}/statuses", told)

    async def make_tag(self, access: Access, name: str, commit: str, message: str) -> None:
        body = {"ref": f"refs/tags/{name}", "sha": commit}
        answer = await self.ask(access, "POST", f"/repos/{access.path}/git/refs", body)
        if answer.status != 422 or "already exists" not in answer.text:
            require_success(answer)

    async def make_hook(self, access: Access, url: str, secret: str) -> str:
        config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        body = {"active": True, "events": list(EVENTS), "config": config}
        path = f"/repos/{access.path}/hooks"
        if there := hook_at(url, await self.do(access, "GET", f"{path}?per_page=100")):
            await self.do(access, "PATCH", f"{path}/{there}", body)
            return there
        return id_of(await self.do(access, "POST", path, {"name": "web", **body}))
