"""The hand-written script, sent to one or more servers, each through one cold `ssh`."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import work
from bench.common import measured
from tests.support.vps import Vps

SCRIPT = Path(__file__).with_name("by_hand.sh")


def deploy(servers: Sequence[tuple[Vps, int]], root: str, repository: str) -> float:
    """Deploys to all servers (each with the port to reach it by) at once; seconds until the last was done."""
    arguments = (root, repository, work.BRANCH, str(work.KEEP), work.SHARED_FILE, work.SHARED_FOLDER, work.BUILD)
    remote = shlex.join(["sh", "-s", "--", *arguments])
    with measured() as watch:
        processes = [_start(vps, port, remote) for vps, port in servers]
        outputs = [process.communicate() for process in processes]
    for process, (output, _) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return watch.seconds


def _start(vps: Vps, port: int, remote: str) -> subprocess.Popen[str]:
    # The first -p counts; known_hosts has the server by its own port.
    reach = ("-p", str(port), "-o", f"HostKeyAlias=[{vps.host}]:{vps.port}", "-o", "ControlMaster=no")
    with SCRIPT.open() as script:
        return subprocess.Popen(
            ["ssh", *reach, *vps.ssh_command[1:], f"{vps.user}@{vps.host}", remote],
            stdin=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
