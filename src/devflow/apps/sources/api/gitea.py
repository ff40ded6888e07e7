"""The REST API of Gitea and Forgejo. They have no list of deployments: the statuses of commits tell all."""

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

_STATUS = {WAITING: "pending", PENDING: "pending", SUCCESS: "success", FAILURE: "failure", CANCELLED: "error"}


class GiteaApi(ProviderApi):
    title = "Gitea or Forgejo"
    public_host = "gitea.com"
    public_url = "https://gitea.com/api/v1"
    path = "/api/v1"
    token_help = "An access token with read and write permission for repositories."

    def headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"token {token}"}

    async def check(self, access: Access) -> str:
        return id_of(await self.do(access, "GET", f"/repos/{access.path}"), "full_name")

    async def set_status(self, access: Access, state: State) -> None:
        body = {
            "state": _STATUS[state.state],
            "target_url": state.url,
            "description": cut(state.description, 255),
            "context": state.context,
        }
        await self.do(access, "POST", f"/repos/{access.path}/statuses/{state.commit}", body)

    async def make_tag(self, access: Access, name: str, commit: str, message: str) -> None:
        body = {"tag_name": name, "target": commit, "message": message}
        answer = await self.ask(access, "POST", f"/repos/{access.path}/tags", body)
        if answer.status != 409:  # it is there
            require_success(answer)

    async def make_hook(self, access: Access, url: str, secret: str) -> str:
        body = {
            "type": "gitea",
            "active": True,
            "events": ["push", "create", "delete"],
            "config": {"url": url, "content_type": "json", "secret": secret},
        }
        path = f"/repos/{access.path}/hooks"
        if there := hook_at(url, await self.do(access, "GET", f"{path}?limit=100")):
            answer = await self.ask(access, "DELETE", f"{path}/{there}")  # an edit would leave the old secret
            if answer.status != 404:
                require_success(answer)
        return id_of(await self.do(access, "POST", path, body))
