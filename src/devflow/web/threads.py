"""Lets the asynchronous part of the web process use the database: in a few threads that keep no connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.db import connection

T = TypeVar("T")

_threads: Final = ThreadPoolExecutor(4, thread_name_prefix="streams")


async def in_thread(function: Callable[..., T], *arguments: Any, pool: ThreadPoolExecutor = _threads) -> T:
    """What the function returns or raises, in a thread of the pool; the connection that it used is given back."""

    def run() -> T:
        try:
            return function(*arguments)
        finally:
            connection.close()

    return await asyncio.get_running_loop().run_in_executor(pool, run)
