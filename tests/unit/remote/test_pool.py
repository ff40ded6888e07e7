"""One kept connection a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from devflow.core.errors import ConnectError
from devflow.remote import pool as module
from devflow.remote.pool import Pool
from devflow.remote.transport import Address, Connection, LocalConnection

ADDRESS = Address(name="web1", host="web1.example.com", user="deploy", private_key="key")


class Kept(LocalConnection):
    is_open = True

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The addresses that were connected to."""
    addresses: list[Address] = []

    async def connect(address: Address) -> Connection:
        await asyncio.sleep(0)
        addresses.append(address)
        return Kept()

    monkeypatch.setattr(module, "connect", connect)
    return addresses


async def test_many_who_ask_at_once_share_one(made: list[Address]) -> None:
    pool = Pool()
    connections = await asyncio.gather(*(pool.get(ADDRESS) for _ in range(10)))
    assert len(made) == 1
    assert all(connection is connections[0] for connection in connections)


async def test_a_lost_one_is_made_anew(made: list[Address]) -> None:
    pool = Pool()
    (await pool.get(ADDRESS)).close()
    assert (await pool.get(ADDRESS)).is_open
    assert len(made) == 2


async def test_a_dropped_one_is_closed_but_not_its_replacement(made: list[Address]) -> None:
    pool = Pool()
    broken = await pool.get(ADDRESS)
    pool.drop(ADDRESS, broken)
    fresh = await pool.get(ADDRESS)
    pool.drop(ADDRESS, broken)
    assert not broken.is_open
    assert await pool.get(ADDRESS) is fresh
    assert fresh.is_open


async def test_another_key_or_port_gets_a_connection_of_its_own(made: list[Address]) -> None:
    pool = Pool()
    for address in (ADDRESS, replace(ADDRESS, port=2222), replace(ADDRESS, private_key="other")):
        await pool.get(address)
    assert len(made) == 3


async def test_closing_closes_all(made: list[Address]) -> None:
    pool = Pool()
    connections = [await pool.get(ADDRESS), await pool.get(replace(ADDRESS, port=2222))]
    pool.close()
    assert not any(connection.is_open for connection in connections)


async def test_an_error_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(address: Address) -> Connection:
        raise ConnectError("refused")

    pool = Pool()
    monkeypatch.setattr(module, "connect", refuse)
    for _ in range(2):
        with pytest.raises(ConnectError):
            await pool.get(ADDRESS)


def test_no_key_shows_in_an_address() -> None:
    assert "key'" not in repr(ADDRESS)
    assert "private_key" not in repr(ADDRESS)
