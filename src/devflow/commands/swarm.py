"""Docker Swarm: how a server joins and leaves one, and what a manager tells of nodes, services and tasks.

Scripts are for `sh` on standard input: what a script needs, a join token too, is in its first lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from devflow.core.shell import quote

MANAGER, WORKER = "manager", "worker"
LEAST_REPLICAS, MOST_REPLICAS = 0, 1000
FAILED_UPDATES = ("paused", "rollback_started", "rollback_paused", "rollback_completed")
"""States of an update in which the new specification is not, or not everywhere, what runs."""
_MARK = "\x1e"
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}

DOCKER = """\
fail() { echo "$*" >&2; exit 1; }
command -v docker >/dev/null || fail "Docker is not installed. Install it there: apt-get install docker.io"
if docker version >/dev/null 2>&1; then dk() { docker "$@"; }
elif sudo -n docker version >/dev/null 2>&1; then dk() { sudo -n docker "$@"; }
else
  why=$(docker version 2>&1 >/dev/null | tail -n 1)
  fail "$(id -un) cannot use Docker: ${why:-it does not answer}. Is it running (systemctl start docker)? Else let the user in: sudo usermod -aG docker $(id -un)"
fi
"""
"""`dk` is docker as the login user, or through sudo where that is what is allowed."""

FORM = """\
state=$(dk info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}') || exit 1
case $state in
  inactive*) dk swarm init ${address:+--advertise-addr "$address"} >/dev/null || exit 1 ;;
  'active true') ;;
  *) fail "Docker says of its swarm here: ${state%% *}, and that it is no manager. To take it out of that swarm: docker swarm leave" ;;
esac
dk info --format '{{json .Swarm}}'
"""
"""Begins a swarm; one that this server manages already is taken over as it is. Prints what Docker knows of it."""

TOKEN = """\
dk swarm join-token --quiet "$role" && dk info --format '{{json .Swarm}}'
"""
ROTATE = """\
dk swarm join-token --rotate --quiet "$role" >/dev/null
"""
"""Where a token was an argument of `docker swarm join` (see JOIN), all users of the server could read it for that moment:
afterwards it is worth nothing."""

JOIN = """\
socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
socket=${socket#unix://}
join() {
  if [ ! -w "$socket" ] || ! command -v curl >/dev/null; then
    dk swarm join ${address:+--advertise-addr "$address"} --token "$token" "$manager" >/dev/null || exit 1
    return
  fi
  said=$(printf '{"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "%s", "RemoteAddrs": ["%s"], "JoinToken": "%s"}' "$address" "$manager" "$token" |
    curl -sS -g -m 50 --unix-socket "$socket" -H 'Content-Type: application/json' --data-binary @- http://docker/swarm/join 2>&1)
  [ -z "$said" ] || fail "$said"
}
state=$(dk info --format '{{.Swarm.LocalNodeState}}') || exit 1
case $state in
  inactive) join ;;
  active) ;;
  *) fail "Docker says of its swarm here: $state. To take it out of that: docker swarm leave --force" ;;
esac
dk info --format '{{json .Swarm}}'
"""
"""Docker's own command takes the token as an argument only; its socket takes it as a text that nobody else reads. The
command is for users who may not write to the socket."""

_KEEPS = r"""
ids=$(dk node ps --no-trunc --quiet --filter desired-state=running "$node") || exit 1
services=''
[ -z "$ids" ] || services=$(dk inspect --type task --format '{{.ServiceID}}' $ids | sort -u)
for each in $services; do
  seen=$(dk service inspect --format 'n:{{.Spec.Name}}{{println}}{{if .Spec.Mode.Global}}global{{println}}{{end}}{{with .Spec.TaskTemplate.Placement}}{{range .Constraints}}c:{{.}}{{println}}{{end}}{{end}}{{range .Spec.TaskTemplate.ContainerSpec.Mounts}}{{if eq .Type "volume"}}{{if not .ReadOnly}}v:{{or .Source "a volume without a name"}}:{{with .VolumeOptions}}{{with .DriverConfig}}{{.Name}}:{{index .Options "type"}}{{end}}{{end}}{{println}}{{end}}{{end}}{{end}}' "$each" 2>/dev/null) || continue
  if printf '%s\n' "$seen" | grep -qE '^(global|c:(node\.(id|hostname|labels\.[^ =!]+)|engine\.labels\.[^ =!]+) *==)'; then continue; fi
  volume=$(printf '%s\n' "$seen" | awk -F: '$1 == "v" && ($3 == "" || $3 == "local") && $4 !~ /^(nfs4?|cifs|smb3|ceph|glusterfs)$/ { print $2; exit }')
  [ -z "$volume" ] || fail "$(printf '%s\n' "$seen" | sed -n 's/^n://p') keeps data there in $volume, which no other node has: it would start elsewhere with an empty one. Nothing was changed. Pin it to the node in its Compose file (deploy.placement.constraints) and deploy, so that it waits for the node; or scale it to 0, move the data, and drain then."
done
"""
DRAIN = f"""\
if [ -z "${{force:-}}" ]; then
{_KEEPS}fi
dk node update --availability drain "$node" >/dev/null
"""
"""Refused, but with `force`, where a service would leave its data behind."""
ACTIVATE = """\
dk node update --availability active "$node" >/dev/null
"""
TASKS_ON = """\
dk node ps --filter desired-state=running --quiet "$node"
"""
DEMOTE = """\
case $(dk node inspect --format '{{.Spec.Role}}' "$node") in manager) dk node demote "$node" >/dev/null ;; esac
"""
LEAVE = """\
tries=40
until said=$(dk swarm leave ${force:+--force} 2>&1); do
  case $said in *'not part of a swarm'*) break ;; esac
  tries=$((tries - 1)); [ "$tries" -gt 0 ] || fail "$said"
  sleep 0.5
done
dk info --format '{{json .Swarm}}'
"""
"""A manager that was demoted takes a moment to notice. Prints what Docker knows of its swarm then."""
REMOVE_NODE = """\
tries=40
until said=$(dk node rm ${force:+--force} "$node" 2>&1); do
  case $said in *'not found'*) exit 0 ;; esac
  tries=$((tries - 1)); [ "$tries" -gt 0 ] || fail "$said"
  sleep 0.5
done
"""
"""A node can only be removed when the managers have seen that it is down."""

SCALE = """\
mode=$(dk service inspect --format '{{if .Spec.Mode.Replicated}}replicated{{end}}' "$service") || exit 1
[ -n "$mode" ] || fail "$service runs once on each node (global): it has no number of replicas."
dk service scale --detach "$service=$replicas" >/dev/null
"""

LOOK = f"""\
section() {{ printf '{_MARK}%s\\n' "$1"; }}
section swarm; dk info --format '{{{{json .Swarm}}}}' || exit 1
section nodes; dk node ls --format '{{{{json .}}}}' || exit 1
section services; dk service ls --format '{{{{json .}}}}' || exit 1
ids=$(dk service ls --quiet)
if [ -n "$ids" ]; then
  section updates
  dk service inspect --format '{{{{.Spec.Name}}}} {{{{if .UpdateStatus}}}}{{{{.UpdateStatus.State}}}} {{{{.UpdateStatus.Message}}}}{{{{end}}}}' $ids
  section tasks; dk service ps --no-trunc --format '{{{{json .}}}}' $ids
fi
section end
"""
"""All that a page shows of a swarm. A service that went away meanwhile makes one of the last two incomplete, no more."""


def script(body: str, **values: str) -> str:
    """The whole text for `sh -s`: values first, quoted, then `dk`."""
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items()) + DOCKER + body


def parse_swarm(output: str) -> dict[str, str]:
    """Of `docker info`'s part on the swarm: state, node, address, manager (where it is one: the address to join by) and
    swarm, the id of it, which only managers know."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), "{}")
    told = json.loads(line)
    own: dict[str, Any] = next(
        (each for each in told.get("RemoteManagers") or () if each.get("NodeID") == told.get("NodeID")), {}
    )
    return {
        "state": told.get("LocalNodeState", ""),
        "node": told.get("NodeID", ""),
        "address": told.get("NodeAddr", ""),
        "manager": own.get("Addr", "") if told.get("ControlAvailable") else "",
        "swarm": (told.get("Cluster") or {}).get("ID", ""),
    }


def parse_look(output: str) -> dict[str, Any]:
    """`{"swarm": id, "nodes": […], "services": […]}` of what LOOK printed. Raises ValueError where it is not whole."""
    sections = dict(part.split("\n", 1) for part in output.split(_MARK)[1:])
    if "end" not in sections:
        raise ValueError("the answer is not whole")
    states = dict(_update(line) for line in sections.get("updates", "").splitlines() if line.strip())
    tasks = [_task(row) for row in _rows(sections.get("tasks", ""))]
    nodes = [_node(row) for row in _rows(sections["nodes"])]
    up = {node["name"] for node in nodes if node["state"] == "ready"}
    services = [_service(row, states.get(row["Name"], ("", "")), tasks, up) for row in _rows(sections["services"])]
    return {
        "swarm": parse_swarm(sections["swarm"])["swarm"],
        "nodes": nodes,
        "services": sorted(services, key=lambda service: str(service["name"])),
    }


def is_converged(service: Mapping[str, Any]) -> bool:
    """Whether as many tasks run as are wanted, no more are under way, and no update is."""
    under_way = [task for task in service["tasks"] if task["is_wanted"]]
    is_still = service["update"] in ("", "completed", "rollback_completed")
    return is_still and service["running"] == service["wanted"] == len(under_way)


def errors_of(service: Mapping[str, Any]) -> list[str]:
    """What the swarm says of tasks that did not come up, each once: first of those that are wanted, then of those that
    it has given up, each the newest first."""
    failed = [task for task in service["tasks"] if task["error"]]
    failed.sort(key=lambda task: (not task["is_wanted"], _age_seconds(task["since"])))
    return list(dict.fromkeys(task["error"] for task in failed))


def _age_seconds(since: str) -> int:
    """Of Docker's words: "21 seconds ago", "About an hour ago", "Less than a second ago"."""
    told = re.match(r"(?:about |less than )?(\d+|an?) (second|minute|hour|day|week|month|year)", since.lower())
    if not told:
        return 0
    number, unit = told.groups()
    return _SECONDS[unit] * (int(number) if number.isdigit() else 1)


def _rows(text: str) -> Iterable[dict[str, Any]]:
    return (json.loads(line) for line in text.splitlines() if line.startswith("{"))


def _update(line: str) -> tuple[str, tuple[str, str]]:
    name, _, rest = line.partition(" ")
    state, _, message = rest.partition(" ")
    return name, (state, message.strip())


def _node(row: Mapping[str, Any]) -> dict[str, str]:
    status = row.get("ManagerStatus", "")
    return {
        "id": row["ID"],
        "name": row.get("Hostname", ""),
        "state": row.get("Status", "").lower(),
        "availability": row.get("Availability", "").lower(),
        "role": MANAGER if status else WORKER,
        "manager_status": status.lower(),
        "engine": row.get("EngineVersion", ""),
    }


def _service(
    row: Mapping[str, Any], update: tuple[str, str], tasks: list[dict[str, Any]], up: Collection[str]
) -> dict[str, Any]:
    """Docker counts a task as running that was last heard of so, on a node that is down too, and one that is to end:
    what runs is counted here, on the nodes that are `up`."""
    counted = re.match(r"(\d+)/(\d+)", row.get("Replicas", ""))
    running, wanted = counted.groups() if counted else ("0", "0")
    name = row["Name"]
    own = [task for task in tasks if task["name"].rpartition(".")[0] == name]
    if own and "job" not in row.get("Mode", ""):
        running = sum(task["is_wanted"] and task["state"] == "running" and task["node"] in up for task in own)
    return {
        "id": row["ID"],
        "name": name,
        "mode": row.get("Mode", ""),
        "image": row.get("Image", ""),
        "running": int(running),
        "wanted": int(wanted),
        "update": update[0],
        "message": update[1],
        "tasks": own,
    }


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    """`name` is that of the service and the number of the replica (of a global one the node's id)."""
    return {
        "id": row["ID"],
        "name": row.get("Name", "").removeprefix(r" \_ ").strip(),
        "node": row.get("Node", ""),
        "state": row.get("CurrentState", "").split(" ")[0].lower(),
        "since": row.get("CurrentState", "").partition(" ")[2],
        "is_wanted": row.get("DesiredState", "") in ("Running", "Ready"),
        "error": row.get("Error", "").strip('"'),
        "image": row.get("Image", ""),
    }
