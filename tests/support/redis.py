"""A real redis-server for tests, on a Unix socket in a folder of its own."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis

from .docker_engine import install_packages
from .panel import wait_until


class RedisServer:
    """A context manager; `url` is its address. It keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis(unix_socket_path=str(self._socket))

    def __enter__(self) -> RedisServer:
        install_packages("redis-server:redis-server")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.client.close()

    def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(self._socket.parent))
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers, 10)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        """It answers nobody, but keeps what it has."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False
