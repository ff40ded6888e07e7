"""The REST API of Bitbucket Cloud. Its deployments belong to its own pipelines: build statuses tell all."""

from __future__ import annotations

import hashlib
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

_STATUS = {WAITING: "INPROGRESS", PENDING: "INPROGRESS", SUCCESS: "SUCCESSFUL", FAILURE: "FAILED", CANCELLED: "STOPPED"}
_LONGEST_KEY = 40


class BitbucketApi(ProviderApi):
    title = "Bitbucket"
    public_host = "bitbucket.org"
    public_url = "https://api.bitbucket.org/2.0"
    path = "/2.0"
    token_help = "A repository access token with the scopes repository:write and webhook."

    def headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    async def check(self, access: Access) -> str:
        return id_of(await self.do(access, "GET", f"/repositories/{access.path}"), "full_name")

    async def set_status(self, access: Access, state: State) -> None:
        body = {
            "key": _key(state.context),
            "state": _STATUS[state.state],
            "name": state.context,
            "url": state.url,
            "description": cut(state.description, 255),
        }
        await self.do(access, "POST", f"/repositories/{access.path}/commit/{state.commit}/statuses/build", body)

    async def make_tag(self, access: Access, name: str, commit: str, message: str) -> None:
        body = {"name": name, "message": message, "target": {"hash": commit}}
        answer = await self.ask(access, "POST", f"/repositories/{access.path}/refs/tags", body)
        if answer.status not in (400, 409) or "already exists" not in answer.text:
            require_success(answer)

    async def make_hook(self, access: Access, url: str, secret: str) -> str:
        body = {
            "description": "DevFlow Pro",
            "url": url,
            "active": True,
            "secret": secret,
            "events": ["repo:push"],
        }
        path = f"/repositories/{access.path}/hooks"
        listed = await self.do(access, "GET", f"{path}?pagelen=100&fields=values.uuid,values.url")
        if there := hook_at(url, listed.get("values") if isinstance(listed, dict) else None, "uuid"):
            await self.do(access, "PUT", f"{path}/{quote(there, safe='')}", body)
            return there
        return id_of(await self.do(access, "POST", path, body), "uuid")


def _key(context: str) -> str:
    if len(context) <= _LONGEST_KEY:
        return context
    return "devflow-" + hashlib.sha256(context.encode()).hexdigest()[: _LONGEST_KEY - len("devflow-")]
