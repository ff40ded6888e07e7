"""Bringing an image from one server to another, both of which exist in memory only."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from devflow.core.errors import ConnectError
from devflow.engine import images
from devflow.engine.plan import Target
from devflow.remote.transport import Completed, Connection

ID = "sha256:" + "a" * 64
LAYERS = [f"sha256:{letter * 64}" for letter in "bcd"]
FILES = [f"blobs/sha256/{letter * 64}" for letter in "bcd"]
BUILDER, WEB = Target("1", "build"), Target("2", "web")


@dataclass
class Docker:
    """A server with images; `wants_all` loads nothing that is not whole, `loses` breaks so many connections."""

    images: dict[str, list[str]] = field(default_factory=dict)
    wants_all: bool = False
    is_full: bool = False
    loses: int = 0
    loaded: list[bytes] = field(default_factory=list)
    told: str = ""
    host_key = ""
    is_open = True

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        if self.loses:
            self.loses -= 1
            raise ConnectError("the connection was lost", transient=True)
        _, _, text = shlex.split(command)
        if "brought" in text:
            self.told = shlex.split(text)[2]
            return Completed(0, "", "")
        if "tar -xOf" in text:
            return Completed(0, json.dumps([{"Layers": FILES}]), "")
        if "image ls" in text:
            return Completed(0, "\n".join(map(json.dumps, self.images.values())), "")
        if "RootFS" in text:
            return Completed(0, json.dumps(self.images[ID]), "")
        return Completed(0, ID, "") if ID in self.images else Completed(1, "", "No such image")

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Process:
        _, _, text = shlex.split(command)
        return Process(self, text)

    def close(self) -> None:
        return


class Process:
    """`docker save`, whose archive is the command itself, or `docker load`."""

    def __init__(self, docker: Docker, text: str) -> None:
        self._docker, self._text = docker, text
        self._got = b""

    async def chunks(self) -> AsyncIterator[bytes]:
        if "docker save" in self._text:
            yield self._text.encode()
        elif self._docker.is_full:
            yield b"open /var/lib/docker/tmp: no space left on device\n"

    async def feed(self, data: bytes) -> None:
        self._got += data

    def end_input(self) -> None:
        self._docker.loaded.append(self._got)
        is_whole = b"--delete" not in self._got
        if not self._docker.is_full and (is_whole or not self._docker.wants_all):
            self._docker.images[ID] = LAYERS

    async def wait(self) -> tuple[int, str]:
        return (1, "") if "load" in self._text and self._docker.is_full else (0, "")

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


class Reach:
    def __init__(self, builder: Docker, web: Docker) -> None:
        self.builder, self.web = builder, web

    async def get(self, server_id: str) -> Connection:
        return self.builder if server_id == BUILDER.id else self.web

    def drop(self, server_id: str, connection: Connection) -> None:
        raise NotImplementedError


async def bring(web: Docker) -> bool:
    builder = Docker({ID: LAYERS})
    return await images.bring(Reach(builder, web), source=BUILDER, target=WEB, image=ID, run_id="d-1")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PAUSE_SECONDS", 0)


async def test_the_whole_image_comes_where_there_is_nothing_of_it() -> None:
    web = Docker()
    assert await bring(web)
    assert web.loaded == [f"docker save {ID}".encode()]
    assert web.told.startswith("The image was brought from build over SSH: 0.0 MB.")


async def test_layers_that_are_there_are_not_sent() -> None:
    web = Docker({"older": LAYERS[:2]})
    assert await bring(web)
    assert web.loaded == [f"docker save {ID} | tar --delete -f - {FILES[0]} {FILES[1]}".encode()]
    assert web.told.endswith("2 of its layers were there already.")


async def test_a_docker_that_wants_all_of_it_gets_all() -> None:
    web = Docker({"older": LAYERS[:2]}, wants_all=True)
    assert await bring(web)
    assert [b"--delete" in archive for archive in web.loaded] == [True, False]


async def test_nothing_is_sent_twice() -> None:
    web = Docker({ID: LAYERS})
    assert await bring(web)
    assert web.loaded == []


async def test_what_docker_says_is_told() -> None:
    web = Docker(is_full=True)
    assert not await bring(web)
    assert web.told.endswith("from build to web: open /var/lib/docker/tmp: no space left on device")


async def test_a_lost_connection_is_tried_again_but_not_for_ever() -> None:
    assert await bring(Docker(loses=images.TRIES - 1))
    assert not await bring(Docker(loses=images.TRIES + 1))


async def test_an_image_without_an_id_is_not_asked_for() -> None:
    web = Docker()
    reach = Reach(Docker({ID: LAYERS}), web)
    assert not await images.bring(reach, source=BUILDER, target=WEB, image="x; reboot", run_id="d-1")
    assert web.loaded == []
    assert web.told == "build did not tell which image it has built."
