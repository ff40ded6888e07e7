"""One kept connection a server, shared by all who need it, made anew when it was lost."""

from __future__ import annotations

import asyncio

from devflow.remote.transport import Address, Connection, connect


class Pool:
    """Connections by address. A changed address (another key, another port) gets a connection of its own."""

    def __init__(self) -> None:
        self._open: dict[Address, Connection] = {}
        self._locks: dict[Address, asyncio.Lock] = {}

    async def get(self, address: Address) -> Connection:
        """The open connection to this address, or a new one. Raises ConnectError."""
        if (kept := self._open.get(address)) and kept.is_open:
            return kept
        async with self._locks.setdefault(address, asyncio.Lock()):
            kept = self._open.get(address)
            if kept is None or not kept.is_open:
                kept = self._open[address] = await connect(address)
            return kept

    def drop(self, address: Address, connection: Connection) -> None:
        """Closes a connection that has proved broken, unless it was replaced already."""
        connection.close()
        if self._open.get(address) is connection:
            del self._open[address]

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()
