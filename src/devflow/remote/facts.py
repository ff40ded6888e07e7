"""What a server is and has, read in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow.core.errors import RemoteError
from devflow.core.shell import quote

if TYPE_CHECKING:
    from devflow.remote.transport import Connection  # loads asyncssh, which web must not

TOOLS = (
    "git",
    "curl",
    "tar",
    "flock",
    "setsid",
    "php",
    "composer",
    "node",
    "npm",
    "python3",
    "docker",
    "docker compose",
    "jq",
    "nginx",
    "systemctl",
    "rsync",
)

_PROGRAMS = " ".join(tool for tool in TOOLS if " " not in tool)
_SCRIPT = f"""\
echo begin=devflow
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -r /etc/os-release ] && . /etc/os-release
echo "os=${{PRETTY_NAME:-$(uname -s)}}"
echo "kernel=$(uname -r)"
echo "architecture=$(uname -m)"
echo "cpus=$(getconf _NPROCESSORS_ONLN)"
echo "user=$(id -un)"
echo "shell=${{SHELL:-}}"
echo "home=$HOME"
while read -r key value _; do
  case $key in MemTotal:) echo "memory_kb=$value" ;; MemAvailable:) echo "memory_free_kb=$value" ;; esac
done </proc/meminfo
df -Pk / | {{ read -r _; read -r _ total _ free _; echo "disk_kb=$total"; echo "disk_free_kb=$free"; }}
read -r up _ </proc/uptime; echo "uptime_seconds=${{up%.*}}"
read -r load _ </proc/loadavg; echo "load=$load"
echo "time=$(date +%s)"
for tool in {_PROGRAMS}; do command -v "$tool" >/dev/null && echo "tool=$tool"; done
docker compose version >/dev/null 2>&1 && echo "tool=docker compose"
command -v git >/dev/null && echo "git=$(git --version | cut -d ' ' -f 3)"
command -v php >/dev/null && echo "php=$(php -r 'echo PHP_VERSION;' 2>/dev/null)"
command -v node >/dev/null && echo "node=$(node --version 2>/dev/null)"
find "$HOME/.devflow/runs" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {{}} + 2>/dev/null
echo end=devflow
"""

_NUMBERS = {"cpus", "memory_kb", "memory_free_kb", "disk_kb", "disk_free_kb", "uptime_seconds", "time"}


async def read(connection: Connection, server: str) -> dict[str, Any]:
    """os, kernel, architecture, cpus, user, home, memory_kb, disk_kb (of /), …, tools (those present), versions.

    Raises RemoteError when the login shell does not run commands, ConnectError.
    """
    done = await connection.run(f"sh -c {quote(_SCRIPT)}", timeout_seconds=30)
    if "begin=devflow" not in done.stdout or "end=devflow" not in done.stdout:
        said = (done.stdout + done.stderr).strip()[:200] or f"exit code {done.exit_code}, no output"
        raise RemoteError(
            f"{server}: the login shell does not run commands ({said}). Give the user a shell: chsh -s /bin/sh USER",
            server=server,
        )
    return parse(done.stdout)


def parse(output: str) -> dict[str, Any]:
    """The script's output as a dictionary; numbers as numbers."""
    facts: dict[str, Any] = {"tools": []}
    for line in output[output.index("begin=devflow") :].splitlines():
        key, _, value = line.partition("=")
        if key == "tool":
            facts["tools"].append(value)
        elif key in _NUMBERS:
            facts |= {key: int(value)} if value.isdigit() else {}
        elif key not in ("begin", "end") and value:
            facts[key] = value
    return facts
