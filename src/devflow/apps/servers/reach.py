"""The workers' way to servers: the pool of kept connections, by the panel's id of a server."""

from __future__ import annotations

from collections.abc import Iterable

from devflow.apps.servers.models import Server
from devflow.core.errors import RemoteError
from devflow.remote.pool import Pool
from devflow.remote.transport import Address, Connection


class ServerReach:
    """Give it servers by `remember` before asking for their connections. One of it serves a whole worker."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._addresses: dict[str, Address] = {}

    def remember(self, servers: Iterable[Server]) -> None:
        for server in servers:
            self._addresses[server.pk.hex] = address_of(server)

    async def get(self, server_id: str) -> Connection:
        """Raises ConnectError; RemoteError when the server was removed from the panel."""
        return await self._pool.get(self._address(server_id))

    def drop(self, server_id: str, connection: Connection) -> None:
        self._pool.drop(self._address(server_id), connection)

    def _address(self, server_id: str) -> Address:
        address = self._addresses.get(server_id)
        if address is None:
            raise RemoteError("This server was removed from the environment while a deployment to it was under way.")
        return address


def address_of(server: Server) -> Address:
    """How the transport reaches this server; opens the private key."""
    return Address(
        name=server.name,
        host=server.host,
        port=server.port,
        user=server.user,
        private_key=server.private_key,
        host_key=server.host_key,
        is_local=server.is_local,
    )
