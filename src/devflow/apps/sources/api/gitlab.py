"""GitLab's REST API, of gitlab.com and self-hosted."""

from __future__ import annotations

from urllib.parse import quote

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

_DESCRIPTION = 255
_STATUS = {WAITING: "running", PENDING: "running", SUCCESS: "success", FAILURE: "failed", CANCELLED: "canceled"}


class GitLabApi(ProviderApi):
    title = "GitLab"
    public_host = "gitlab.com"
    public_url = "https://gitlab.com/api/v4"
    path = "/api/v4"
    token_help = "A project access token with the scope api and the role Maintainer."
    has_deployments = True

    def headers(self, token: str) -> dict[str, str]:
        return {"PRIVATE-TOKEN": token}

    async def check(self, access: Access) -> str:
        return id_of(await self.do(access, "GET", _project(access)), "path_with_namespace")

    async def set_status(self, access: Access, state: State) -> None:
        body = {
            "state": _STATUS[state.state],
            "name": state.context,
            "target_url": state.url,
            "description": cut(state.description, _DESCRIPTION),
        }
        if state.branch:
            body["ref"] = state.branch
        answer = await self.ask(access, "POST", f"{_project(access)}/statuses/{state.commit}", body)
        # GitLab refuses a state that the commit is in already
        if answer.status != 400 or "Cannot transition status" not in answer.text:
            require_success(answer)

    async def set_deployment(self, access: Access, state: State, deployment_id: str) -> None:
        told = {"status": _STATUS[state.state]}
        answer = await self.ask(access, "PUT", f"{_project(access)}/deployments/{deployment_id}", told)
        if answer.status != 400 or "Cannot transition status" not in answer.text:
            require_success(answer)

    async def make_deployment(self, access: Access, state: State) -> str:
        """It begins as running, since one that has ended takes no other state."""
        body = {
            "environment": state.environment,
            "sha": state.commit,
            "ref": state.branch or state.commit,
            "tag": False,
            "status": _STATUS[PENDING],
        }
        made = id_of(await self.do(access, "POST", f"{_project(access)}/deployments", body))
        if not made:
            raise OutgoingError(f"{self.title} made a deployment and did not say which.")
        return made

    async def make_tag(self, access: Access, name: str, commit: str, message: str) -> None:
        body = {"tag_name": name, "ref": commit, "message": message}
        answer = await self.ask(access, "POST", f"{_project(access)}/repository/tags", body)
        if answer.status != 400 or "already exists" not in answer.text:
            require_success(answer)

    async def make_hook(self, access: Access, url: str, secret: str) -> str:
        body = {
            "url": url,
            "token": secret,
            "push_events": True,
            "tag_push_events": True,
            "merge_requests_events": False,
            "enable_ssl_verification": True,
        }
        path = f"{_project(access)}/hooks"
        if there := hook_at(url, await self.do(access, "GET", f"{path}?per_page=100")):
            await self.do(access, "PUT", f"{path}/{there}", body)
            return there
        return id_of(await self.do(access, "POST", path, body))


def _project(access: Access) -> str:
    return f"/projects/{quote(access.repository, safe='')}"
