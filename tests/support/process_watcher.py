"""Writes down the arguments and the environment of every process that it sees, until its stdin is closed.

Arguments: one process a line. Environments likewise, but for those of the commands of a run (they have the variables
on purpose) and of the tests themselves (whoever started us).
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

STDIN = [0]


def main(arguments_file: str, environments_file: str) -> None:
    seen: set[tuple[str, bytes]] = set()
    known: set[bytes] = set()
    ours = {str(os.getpid()), str(os.getppid())}
    with Path(arguments_file).open("wb") as arguments, Path(environments_file).open("wb") as environments:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not select.select(STDIN, [], [], 0.001)[0]:
            for pid in os.listdir("/proc"):  # noqa: PTH208 - quick
                if not pid.isdecimal() or pid in ours:
                    continue
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if (pid, command) in seen:
                        continue
                    seen.add((pid, command))
                    environment = Path(f"/proc/{pid}/environ").read_bytes()
                except OSError:
                    continue
                if command not in known:
                    known.add(command)
                    arguments.write(command.replace(b"\0", b" ").replace(b"\n", b" ") + b"\n")
                if b"\0DEVFLOW_RUN=" not in b"\0" + environment:
                    environments.write(command[:80].replace(b"\0", b" ") + b": " + environment + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
