"""Where the master keys come from: a file (the default), the environment, or a command."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from devflow.core.crypto import FILE_LIMIT_BYTES, MasterKeyError, parse_master_keys, read_key_file
from devflow.settings.env import KEY_VARIABLE, Config

COMMAND_SECONDS: Final = 20.0
"""How long `DEVFLOW_KEY_COMMAND` may take: a key service may be far away, and a start must not hang."""

_log = logging.getLogger(__name__)


class MasterKeys:
    """The master keys of this process. The first seals, all open."""

    def __init__(self, config: Config) -> None:
        """Raises MasterKeyError where they cannot be had."""
        self.file: Path | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._refused: tuple[int, int, int] | None = None
        if config.master_key is not None:
            self.where = f"in {KEY_VARIABLE}"
            self._keys = parse_master_keys(config.master_key, KEY_VARIABLE)
        elif config.key_command is not None:
            self.where = "of DEVFLOW_KEY_COMMAND"
            self._keys = _of_command(config.key_command)
        else:
            self.where = str(config.key_file)
            self.file = config.key_file
            self._stamp = _stamp(config.key_file)
            self._keys = read_key_file(config.key_file)

    def now(self, are_ours: Callable[[tuple[bytes, ...]], bool] = lambda keys: False) -> tuple[bytes, ...]:
        """The keys; a key file is read again when it was replaced. So a running panel learns of a new key before
        anything is sealed with it.

        Where that fails, what is known stays in use; also where the file holds none of the known keys, which a rotation
        leaves in it, and `are_ours` does not know those that it holds (of a process that has slept through a rotation).
        """
        if self.file is not None and (stamp := _stamp(self.file)) not in (None, self._stamp):
            try:
                found = read_key_file(self.file)
            except MasterKeyError as error:
                return self._refuse(stamp, str(error))
            if not set(found) & set(self._keys) and not are_ours(found):
                return self._refuse(stamp, f"{self.file} holds another master key than before: put the right one back.")
            self._keys, self._stamp = found, stamp
        return self._keys

    def _refuse(self, stamp: tuple[int, int, int] | None, reason: str) -> tuple[bytes, ...]:
        """Goes on with what is known, and says so once for each state of the file."""
        if stamp != self._refused:
            self._refused = stamp
            _log.error("The key file is not taken up, the panel goes on with the key it has. %s", reason)
        return self._keys


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one state of the file from another; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _of_command(command: str) -> tuple[bytes, ...]:
    """The keys that the command prints. It runs without a shell; what it prints, errors too, is shown nowhere."""
    origin = "DEVFLOW_KEY_COMMAND"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise MasterKeyError(f"{origin} cannot be split into words: {error}.") from None
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise MasterKeyError(f"{origin} cannot be run ({words[0]}): {error.strerror}.") from None
    printed, is_late = _read_limited(process)
    if is_late:
        raise MasterKeyError(f"{origin} ({words[0]}) did not end in {COMMAND_SECONDS:g} s. It must not ask anything.")
    if len(printed) > FILE_LIMIT_BYTES:
        raise MasterKeyError(f"{origin} ({words[0]}) printed more than {FILE_LIMIT_BYTES} bytes: print only the key.")
    if process.returncode != 0:
        raise MasterKeyError(
            f"{origin} ({words[0]}) failed with exit code {process.returncode}. Run it yourself, as the user of the "
            "panel, to see why."
        )
    return parse_master_keys(printed.decode("ascii", "replace"), f"What {origin} ({words[0]}) printed")


def _read_limited(process: subprocess.Popen[bytes]) -> tuple[bytes, bool]:
    """What it printed, up to a byte more than is taken, and whether it had to be ended for taking too long."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(COMMAND_SECONDS, end)
    timer.start()
    assert process.stdout is not None
    with process.stdout as output:
        printed = output.read(FILE_LIMIT_BYTES + 1)
        if len(printed) > FILE_LIMIT_BYTES:
            _kill(process)
    process.wait()
    timer.cancel()
    return printed, late.is_set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
