"""From where a team's members and tokens may come."""

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.schemas import Input
from devflow.apps.accounts import services
from devflow.apps.accounts.addresses import client_address

router = Router(tags=["people"])


class NetworksIn(Input):
    networks: list[str] = Field(
        description="Addresses and networks; an empty list allows every address.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    )
    is_confirmed: bool = Field(False, description="Needed where one's own address is not among them.")


class NetworksOut(BaseModel):
    """`address` is one's own, as the panel sees it."""

    networks: list[str]
    address: str


@router.get("networks", response=NetworksOut)
def networks_get(request: ApiRequest) -> NetworksOut:
    """From where the team may be reached; none stands for everywhere."""
    return NetworksOut(networks=request.auth.team.allowed_networks, address=client_address(request))


@router.put("networks", response=NetworksOut)
def networks_set(request: ApiRequest, payload: NetworksIn) -> NetworksOut:
    """Sets from where the team may be reached, by its members and its tokens. Needs the right to manage people."""
    address = client_address(request)
    team = services.team_networks_set(
        actor=request.auth, networks=payload.networks, address=address, is_confirmed=payload.is_confirmed
    )
    return NetworksOut(networks=team.allowed_networks, address=address)
