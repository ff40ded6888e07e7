"""Docker as it is looked at and tidied up: shell text, and readers of what `docker` prints.

Whose a container or image is, its labels say: `devflow.environment`, `devflow.deployment`, `devflow.release` and
`devflow.colour` where a deployment of a panel made it; else the name of its Compose project, or of the image. Ids of
environments and deployments are 32 hexadecimal digits in all of these: see `identity`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from devflow.core.shell import MASK, quote

ENVIRONMENT, DEPLOYMENT, RELEASE, COLOUR, COMMIT = (
    f"devflow.{part}" for part in ("environment", "deployment", "release", "colour", "commit")
)
COMPOSE_PROJECT, COMPOSE_SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_KEPT_LABELS = ("devflow.", "com.docker.compose.project", "com.docker.compose.service", "org.opencontainers.image.")
"""Labels that are kept and shown; others may hold passwords (of proxies, for instance)."""
_LONGEST = 500
"""Characters of a value that is shown."""

_PROJECT = re.compile(r"devflow-([0-9a-f]{32})(?:-(?:blue|green))?")
_IMAGE_NAME = re.compile(r"(?:devflow/([0-9a-f]{32})|devflow-([0-9a-f]{32})-[a-z0-9_.-]+):([\w.-]+)")
_STACK_IMAGE_NAME = re.compile(r"devflow-stack/([0-9a-f]{32})-[a-z0-9_.-]+:[\w.-]+")
"""What commands/images.py, compose.py and stack.py call images."""

PROBLEMS = ("missing", "denied", "stopped")
STOP_SECONDS = 10
SETTLE_SECONDS = 60
"""So long a container that was started may take to become healthy."""

FIND = """\
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin:/snap/bin
if ! command -v docker >/dev/null; then echo '=problem missing'; echo '=end'; exit 0; fi
docker=docker
if ! version=$(timeout 20 docker version --format '{{.Server.Version}}' 2>&1); then
  if echo "$version" | grep -qi 'permission denied'; then
    docker='sudo -n docker'
    version=$($docker version --format '{{.Server.Version}}' 2>/dev/null) || { echo "=problem denied $(id -un)"; echo '=end'; exit 0; }
  else
    echo "=problem stopped $(echo "$version" | tail -n 1)"; echo '=end'; exit 0
  fi
fi
"""
"""Sets `$docker` (left unquoted: it may be `sudo -n docker`) and `$version`, or says what is in the way and ends."""

_LOOK = """\
echo "=version $version"
echo '=containers'
ids=$($docker ps -aq --no-trunc); [ -z "$ids" ] || $docker container inspect --format '{{json .}}' $ids 2>/dev/null || :
echo '=images'
ids=$($docker image ls -q --no-trunc | sort -u); [ -z "$ids" ] || $docker image inspect --format '{{json .}}' $ids 2>/dev/null || :
echo '=volumes'
ids=$($docker volume ls -q); [ -z "$ids" ] || $docker volume inspect --format '{{json .}}' $ids 2>/dev/null || :
echo '=networks'
ids=$($docker network ls -q --no-trunc); [ -z "$ids" ] || $docker network inspect --format '{{json .}}' $ids 2>/dev/null || :
echo '=sites'
site() { # environment root
  for base in "$2" "$HOME/.devflow/sites/$1"; do
    for role in live standby; do
      colour=; of=
      [ -r "$base/.devflow/$role" ] && read -r colour of <"$base/.devflow/$role"
      [ -z "$colour" ] || echo "$1 $role $colour $of"
    done
    [ -s "$base/.devflow/lock" ] && echo "$1 locked - -"
    [ -r "$base/.devflow/volumes" ] && while IFS= read -r name; do echo "$1 volume $name -"; done <"$base/.devflow/volumes"
    [ -r "$base/.devflow/compose.volumes" ] && while read -r _ name _; do echo "$1 volume $name -"; done <"$base/.devflow/compose.volumes"
    for file in "$base"/releases/*/.devflow-image; do
      [ -r "$file" ] && read -r id _ <"$file" && echo "$1 image $id -"
    done
    for file in "$base"/.devflow/compose/*/images; do
      folder=${file%/images}
      [ -r "$file" ] && [ -d "$base/releases/${folder##*/}" ] && while read -r _ id; do echo "$1 image $id -"; done <"$file"
    done
  done
  return 0
}
"""
_STATS = """\
echo '=stats'
timeout 15 $docker stats --no-stream --no-trunc --format '{{json .}}' 2>/dev/null || :
"""
_DISK = """\
echo '=disk'
timeout 40 $docker system df -v --format '{{json .}}' 2>/dev/null || :
echo
echo '=folders'
folder() { # environment root
  for base in "$2" "$HOME/.devflow/sites/$1"; do
    [ -d "$base" ] && set -- "$1" "$2" $(timeout 5 du -skx "$base" 2>/dev/null) && [ -n "$3" ] && echo "$1 $3"
    set -- "$1" "$2"
  done
  return 0
}
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a clean-up would remove. `kind`: container, image or volume. `names` are an image's tags, in the order in
    which docker tells them; `release` and `colour` are those of its labels; `size` in bytes where it is known."""

    kind: str
    id: str
    environment: str
    names: tuple[str, ...] = ()
    release: str = ""
    colour: str = ""
    size: int | None = None
    why: str = ""


# --- whose it is ------------------------------------------------------------------------------------------------------


def identity(value: object) -> str:
    """An environment's or a deployment's id as labels and names on servers have it, 32 hexadecimal digits; '' where
    this is no id."""
    try:
        return UUID(str(value)).hex
    except ValueError:
        return ""


def environment_of(labels: Mapping[str, str], names: Iterable[str] = ()) -> str:
    """The `identity` of the environment that this is of, as the label, the Compose project or an image's `names` say;
    '' where none does."""
    named = {environment for name in names if (environment := named_in(name)[0])}
    if len(named) == 1:
        return named.pop()
    project = _PROJECT.fullmatch(labels.get(COMPOSE_PROJECT, ""))
    return identity(labels.get(ENVIRONMENT, "")) or (project[1] if project else "")


def named_in(name: str) -> tuple[str, str]:
    """The environment and the tag (a release, or what begins with a commit) in an image's name; ('', '') in that of
    another's. Other nodes of a swarm may need an image of a stack: no tag is told of it."""
    if match := _IMAGE_NAME.fullmatch(name):
        return match[1] or match[2], match[3]
    match = _STACK_IMAGE_NAME.fullmatch(name)
    return (match[1], "") if match else ("", "")


# --- looking ----------------------------------------------------------------------------------------------------------


def look(sites: Iterable[tuple[str, str]], *, with_disk: bool) -> str:
    """A script that tells all that there is, in one go. `sites` are ids of environments with their folders."""
    pairs = [f"{quote(environment)} {quote(root)}" for environment, root in sites]
    told = [f"site {pair}\n" for pair in pairs]
    folders = [f"folder {pair}\n" for pair in pairs]
    disk = [_DISK, *folders] if with_disk else []
    return "".join([FIND, _LOOK, *told, *disk, _STATS, "echo '=end'\n"])


@dataclass(frozen=True, slots=True)
class Look:
    """What `look` found. `problem` is one of PROBLEMS, or '' where Docker answered; `is_whole` where nothing is missing
    at the end. `roles` maps an environment's id to {"live": [colour, release], "standby": …, "locked": …, "volumes": [names
    of volumes that hold its data], "images": [ids of those that kept releases run from]}; `disk` is None where it was not
    asked for."""

    is_whole: bool
    problem: str = ""
    problem_detail: str = ""
    version: str = ""
    containers: tuple[dict[str, Any], ...] = ()
    images: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    networks: tuple[dict[str, Any], ...] = ()
    roles: Mapping[str, dict[str, list[str]]] | None = None
    disk: dict[str, Any] | None = None


def parse_look(output: str) -> Look:
    """What the script of `look` printed. Lines that are not as expected are left out."""
    parts = _parts(output)
    if "problem" in parts:
        kind, _, detail = parts["problem"][0].partition(" ")
        return Look(is_whole="end" in parts, problem=kind if kind in PROBLEMS else "stopped", problem_detail=detail)
    stats = {str(row.get("ID", "")): row for row in _rows(parts, "stats")}
    containers = [container(found, stats.get(str(found.get("Id")), {})) for found in _rows(parts, "containers")]
    return Look(
        is_whole="end" in parts,
        version=parts.get("version", [""])[0],
        containers=tuple(sorted(containers, key=lambda row: str(row["name"]))),
        images=tuple(image(found) for found in _rows(parts, "images")),
        volumes=tuple(volume(found) for found in _rows(parts, "volumes")),
        networks=tuple(network(found) for found in _rows(parts, "networks")),
        roles=_roles(parts.get("sites", [])),
        disk=_disk(parts) if "disk" in parts else None,
    )


def container(found: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """A container, of `docker container inspect` and `docker stats`. `env` and `command` are as they are: not to be
    shown or kept before `masked`."""
    state, config, host = (found.get(part) or {} for part in ("State", "Config", "HostConfig"))
    settings = found.get("NetworkSettings") or {}
    used = str(stats.get("MemUsage", "")).partition(" / ")[0]
    return {
        "id": str(found.get("Id", "")),
        "name": str(found.get("Name", "")).removeprefix("/"),
        "image": str(config.get("Image", "")),
        "image_id": str(found.get("Image", "")),
        "state": str(state.get("Status", "")),
        "health": str((state.get("Health") or {}).get("Status", "")),
        "restarts": int(found.get("RestartCount") or 0),
        "exit_code": int(state.get("ExitCode") or 0),
        "is_out_of_memory": bool(state.get("OOMKilled")),
        "error": str(state.get("Error") or "")[:_LONGEST],
        "created_at": _time(found.get("Created")),
        "started_at": _time(state.get("StartedAt")),
        "finished_at": _time(state.get("FinishedAt")),
        "ports": _ports(settings.get("Ports") or {}),
        "labels": _labels(config.get("Labels")),
        "mounts": [_mount(each) for each in found.get("Mounts") or []],
        "networks": sorted(settings.get("Networks") or {}),
        "env": [list(str(pair).partition("=")[::2]) for pair in config.get("Env") or []],
        "command": [str(word) for word in [found.get("Path") or "", *(found.get("Args") or [])] if word],
        "restart_policy": str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        "memory_limit": int(host.get("Memory") or 0),
        "cpu_limit": round(int(host.get("NanoCpus") or 0) / 1e9, 2),
        "log_driver": str((host.get("LogConfig") or {}).get("Type") or ""),
        "user": str(config.get("User") or ""),
        "cpu_percent": _percent(stats.get("CPUPerc")),
        "memory_bytes": size(used),
    }


def image(found: Mapping[str, Any]) -> dict[str, Any]:
    """An image, of `docker image inspect`."""
    return {
        "id": str(found.get("Id", "")),
        "tags": [str(tag) for tag in found.get("RepoTags") or []],
        "digests": [str(digest) for digest in found.get("RepoDigests") or []],
        "created_at": _time(found.get("Created")),
        "size": int(found.get("Size") or 0),
        "lowest_layer": str(next(iter((found.get("RootFS") or {}).get("Layers") or []), "")),
        "labels": _labels((found.get("Config") or {}).get("Labels")),
    }


def volume(found: Mapping[str, Any]) -> dict[str, Any]:
    """A volume, of `docker volume inspect`."""
    return {
        "name": str(found.get("Name", "")),
        "driver": str(found.get("Driver", "")),
        "created_at": _time(found.get("CreatedAt")),
        "labels": _labels(found.get("Labels")),
    }


def network(found: Mapping[str, Any]) -> dict[str, Any]:
    """A network, of `docker network inspect`."""
    pools = (found.get("IPAM") or {}).get("Config") or []
    return {
        "id": str(found.get("Id", "")),
        "name": str(found.get("Name", "")),
        "driver": str(found.get("Driver", "")),
        "scope": str(found.get("Scope", "")),
        "is_internal": bool(found.get("Internal")),
        "created_at": _time(found.get("Created")),
        "subnets": [str(pool["Subnet"]) for pool in pools if pool.get("Subnet")],
        "labels": _labels(found.get("Labels")),
    }


# --- secrets ----------------------------------------------------------------------------------------------------------

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?|pwd|secret|token|key|credential|private|salt|signature|cert|auth|dsn|database_url|_uri$|_url$",
    re.IGNORECASE,
)
_SECRET_WORD = re.compile(r"^(--?[\w-]*(?:pass|pwd|secret|token|key|auth|credential)[\w-]*)(=|$)", re.IGNORECASE)
_LOGIN = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
SHORTEST_SECRET = 4


def masked(row: Mapping[str, Any], secrets: Sequence[str], *, is_ours: bool) -> dict[str, Any]:
    """The container as it may be kept: values of the environment that are called like secrets, or hold one of
    `secrets`, are ***; of a container that is not ours all are, and the arguments of its command."""
    hidden = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

    def shown(name: str, value: str) -> str:
        if not value:
            return ""
        is_secret = not is_ours or _SECRET_NAME.search(name) or any(secret in value for secret in hidden)
        return MASK if is_secret else _LOGIN.sub(rf"\1:{MASK}@", value)[:_LONGEST]

    return {
        **row,
        "env": [[name[:_LONGEST], shown(name, value)] for name, value in row["env"]],
        "command": _masked_words(row["command"], hidden, is_ours=is_ours),
    }


def _masked_words(words: Sequence[str], hidden: Sequence[str], *, is_ours: bool) -> list[str]:
    told: list[str] = []
    is_next_secret = False
    for number, word in enumerate(words):
        option = _SECRET_WORD.match(word)
        if (number and not is_ours) or is_next_secret or any(secret in word for secret in hidden):
            told.append(MASK)
        elif option and option[2]:
            told.append(f"{option[1]}={MASK}")
        else:
            told.append(_LOGIN.sub(rf"\1:{MASK}@", word)[:_LONGEST])
        is_next_secret = bool(option and not option[2])
    return told


# --- acting -----------------------------------------------------------------------------------------------------------

_ACT = """\
found=$($docker container inspect --format '{{index .Config.Labels "devflow.environment"}}/{{index .Config.Labels "com.docker.compose.project"}}' "$container" 2>&1) || {
  case $found in *[Nn]o\\ such*) echo '=gone' ;; *) echo "=refused $(echo "$found" | tail -n 1)" ;; esac; exit 0; }
[ -z "$environment" ] || case $found in
  "$environment"/*|"/devflow-$environment"|"/devflow-$environment-blue"|"/devflow-$environment-green") ;;
  *) echo '=other'; exit 0 ;;
esac
case $act in start) set -- ;; *) set -- --time "$stop_seconds" ;; esac
said=$($docker container "$act" "$@" "$container" 2>&1) || { echo "=refused $(echo "$said" | tail -n 1)"; exit 0; }
good=0; before=; tries=$settle_seconds
while :; do
  seen=$($docker container inspect --format '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}} {{.State.ExitCode}} {{.RestartCount}} {{.State.StartedAt}}' "$container" 2>/dev/null) || { echo '=gone'; exit 0; }
  if [ "$act" = stop ]; then
    case $seen in exited*|created*|dead*) echo "=seen $seen"; exit 0 ;; esac
  else
    case $seen in
      'running -'*|'running healthy'*) if [ "$seen" = "$before" ]; then good=$((good + 1)); else good=0; fi ;;
      'running unhealthy'*|exited*|dead*) echo "=failed $seen"; exit 0 ;;
      *) good=0 ;;
    esac
    [ "$good" -lt 3 ] || { echo "=seen $seen"; exit 0; }
  fi
  before=$seen
  tries=$((tries - 1)); [ "$tries" -gt 0 ] || { echo "=failed $seen"; exit 0; }
  sleep 1
done
"""
"""A container that was started counts as running once it was seen so four times in a row, without a restart between."""


def act(what: str, *, container: str, environment: str) -> str:
    """A script that does `what` (restart, stop, start) with a container of this environment (its `identity`; '': of any),
    and looks what came of it."""
    given = {
        "act": what,
        "container": container,
        "environment": environment,
        "stop_seconds": str(STOP_SECONDS),
        "settle_seconds": str(SETTLE_SECONDS),
    }
    return "".join([FIND, *(f"{name}={quote(value)}\n" for name, value in given.items()), _ACT])


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of `act`. `outcome`: seen (as it was to be), failed, refused, gone, other (another's), or a problem."""

    outcome: str
    state: str = ""
    health: str = ""
    exit_code: int = 0
    detail: str = ""


def parse_act(output: str) -> Acted:
    last = next((line for line in reversed(output.splitlines()) if line.startswith("=") and line != "=end"), "")
    word, _, rest = last.removeprefix("=").partition(" ")
    if word in ("seen", "failed"):
        state, health, code, *_ = [*rest.split(), "", "", "0"]
        return Acted(word, state, "" if health == "-" else health, int(code) if code.lstrip("-").isdigit() else 0)
    return Acted(word or "failed", detail=rest)


_FOLLOW = """\
exec 3<&0
$docker logs --follow --tail "$tail" "$container" 2>&1 &
logs=$!
{ read -r _ <&3; kill "$logs" 2>/dev/null; } >/dev/null 2>&1 &
watcher=$!
wait "$logs"
kill "$watcher" 2>/dev/null
exit 0
"""


def follow(*, container: str, tail: int) -> str:
    """A script that prints a container's last lines and those to come, until its standard input ends."""
    return f"{FIND}container={quote(container)}; tail={tail}\n{_FOLLOW}"


# --- tidying up -------------------------------------------------------------------------------------------------------

_PRUNE = """\
umask 077; mkdir -p "$HOME/.devflow"
exec 7>>"$HOME/.devflow/prune.mutex"
command -v flock >/dev/null && { flock -w 60 7 || { echo '=busy'; echo '=end'; exit 0; }; }
tell() { printf '%s\\n' "$*" | tr '\\n' ' '; echo; }
root_of() { # environment root: takes the locks of its folders, so that no deployment begins meanwhile
  environment=$1; root=$2; sites=$HOME/.devflow/sites/$1; hold=
  live_colour=; live_release=; standby_colour=; standby_release=
  if [ -d "$root/.devflow" ]; then
    if true >>"$root/.devflow/lock.mutex"; then exec 8>>"$root/.devflow/lock.mutex"; flock -w 10 8 || hold='its lock is held'; else hold='its lock cannot be taken'; fi
  fi
  if [ -d "$sites/.devflow" ]; then
    if true >>"$sites/.devflow/lock.mutex"; then exec 9>>"$sites/.devflow/lock.mutex"; flock -w 10 9 || hold='its lock is held'; else hold='its lock cannot be taken'; fi
  fi
  for base in "$root" "$sites"; do
    [ -s "$base/.devflow/lock" ] && hold='a deployment is under way'
    [ -r "$base/.devflow/live" ] && read -r live_colour live_release <"$base/.devflow/live"
    [ -r "$base/.devflow/standby" ] && read -r standby_colour standby_release <"$base/.devflow/standby"
  done
  return 0
}
is_needed() { # release colour
  [ -n "$hold" ] && { why=$hold; return 0; }
  if [ -n "$2" ]; then
    [ "$2" != "$live_colour" ] || [ -n "$1" -a "$1" != "$live_release" ] || { why='it is live'; return 0; }
    [ "$2" != "$standby_colour" ] || [ -n "$1" -a "$1" != "$standby_release" ] || { why='it is on standby'; return 0; }
  fi
  [ -n "$1" ] || return 1
  [ "$1" != "$live_release" ] || { why='its release is live'; return 0; }
  [ "$1" != "$standby_release" ] || { why='its release is on standby'; return 0; }
  for base in "$root" "$sites"; do
    [ ! -e "$base/releases/$1" ] || { why='its release can be rolled back to'; return 0; }
  done
  return 1
}
removed() { # kind id, said
  if [ "$3" = 0 ]; then tell "=removed $1 $2"; else tell "=kept $1 $2 $4"; fi
}
container() { # id release colour
  seen=$($docker container inspect --format '{{.State.Status}} {{index .Config.Labels "devflow.environment"}}' "$1" 2>/dev/null) || { tell "=gone container $1"; return 0; }
  case $seen in
    "exited $environment"|"created $environment"|"dead $environment") ;;
    *" $environment") tell "=kept container $1 it is ${seen%% *} now"; return 0 ;;
    *) tell "=kept container $1 it is not ours"; return 0 ;;
  esac
  if is_needed "$2" "$3"; then tell "=kept container $1 $why"; return 0; fi
  code=0; said=$($docker container rm "$1" 2>&1) || code=$?
  removed container "$1" "$code" "$said"
}
is_named() { # id tags: whether a release that is kept names the image
  for base in "$root" "$sites"; do
    for word in "$1" $2; do
      if grep -qsF -e "$word" "$base"/releases/*/.devflow* "$base"/.devflow/*; then why='a release names it'; return 0; fi
      for file in "$base"/.devflow/compose/*/images; do
        folder=${file%/images}
        [ -d "$base/releases/${folder##*/}" ] || continue
        if grep -qsF -e "$word" "$file"; then why='a release names it'; return 0; fi
      done
    done
  done
  return 1
}
image() { # id release tags
  seen=$($docker image inspect --format '{{index .Config.Labels "devflow.environment"}} {{index .Config.Labels "com.docker.compose.project"}}/{{join .RepoTags " "}}' "$1" 2>/dev/null) || { tell "=gone image $1"; return 0; }
  [ "${seen#*/}" = "$3" ] || { tell "=kept image $1 it has other names now"; return 0; }
  whose=other
  case ${seen%%/*} in "$environment "*|" devflow-$environment") whose=ours ;; ' '*) [ -z "$3" ] || whose=ours ;; esac
  for name in $3; do
    case $name in "devflow/$environment:"*|"devflow-$environment-"*) ;; *) whose=other ;; esac
  done
  [ "$whose" = ours ] || { tell "=kept image $1 it is not ours"; return 0; }
  used=$($docker ps -aq --filter "ancestor=$1") || { tell "=kept image $1 docker does not answer"; return 0; }
  [ -z "$used" ] || { tell "=kept image $1 a container uses it"; return 0; }
  for name in $3 ":$2"; do
    if is_needed "${name##*:}" ''; then tell "=kept image $1 $why"; return 0; fi
  done
  if is_named "$1" "$3"; then tell "=kept image $1 $why"; return 0; fi
  code=0
  for name in ${3:-"$1"}; do said=$($docker image rm "$name" 2>&1) || { code=$?; break; }; done
  if [ "$code" = 0 ] && $docker image inspect "$1" >/dev/null 2>&1; then code=1; said='another name refers to it still'; fi
  removed image "$1" "$code" "$said"
}
volume() { # name
  seen=$($docker volume inspect --format '{{index .Labels "devflow.environment"}} {{index .Labels "com.docker.compose.project"}}' "$1" 2>/dev/null) || { tell "=gone volume $1"; return 0; }
  [ "$seen" = "$environment " ] || { tell "=kept volume $1 it is not ours alone"; return 0; }
  used=$($docker ps -aq --filter "volume=$1") || { tell "=kept volume $1 docker does not answer"; return 0; }
  [ -z "$used" ] || { tell "=kept volume $1 a container uses it"; return 0; }
  [ -z "$hold" ] || { tell "=kept volume $1 $hold"; return 0; }
  for base in "$root" "$sites"; do
    if grep -qsxF -e "$1" "$base/.devflow/volumes" || cut -d ' ' -f 2 "$base/.devflow/compose.volumes" 2>/dev/null | grep -qxF -e "$1"; then
      tell "=kept volume $1 it holds data of the environment"; return 0
    fi
  done
  code=0; said=$($docker volume rm "$1" 2>&1) || code=$?
  removed volume "$1" "$code" "$said"
}
"""


def prune(candidates: Iterable[Candidate], roots: Mapping[str, str]) -> str:
    """A script that removes these, one by one, each only if it still may go when its turn comes. `roots` maps the ids
    of environments to their folders; what is of no other is left where it is."""
    lines: list[str] = []
    chosen = [each for each in candidates if each.environment in roots]
    for environment in dict.fromkeys(each.environment for each in chosen):
        ours = [each for each in chosen if each.environment == environment]
        inner = [_call(each) for kind in ("container", "image", "volume") for each in ours if each.kind == kind]
        words = f"{quote(environment)} {quote(roots[environment])}"
        # a shell of its own, whose end lets go of the locks
        lines += ["(\n", f"root_of {words}\n", *inner, ")\n"]
    return "".join([FIND, _PRUNE, *lines, "echo '=end'\n"])


def _call(candidate: Candidate) -> str:
    words = {
        "container": (candidate.id, candidate.release, candidate.colour),
        "image": (candidate.id, candidate.release, " ".join(candidate.names)),
        "volume": (candidate.id,),
    }[candidate.kind]
    return f"{candidate.kind} {' '.join(map(quote, words))}\n"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What came of one candidate: removed, gone (before), or kept, and then why."""

    outcome: str
    kind: str
    id: str
    why: str = ""


def parse_prune(output: str) -> list[Pruned]:
    found = []
    for line in output.splitlines():
        word, _, rest = line.removeprefix("=").partition(" ")
        if line.startswith("=") and word in ("removed", "gone", "kept"):
            kind, identity, why, *_ = [*rest.strip().split(" ", 2), "", "", ""]
            found.append(Pruned(word, kind, identity, why.strip()[:_LONGEST]))
    return found


# --- what docker prints -----------------------------------------------------------------------------------------------

_UNITS = {
    "B": 1,
    **{f"{unit}B": 1000**power for power, unit in enumerate("kMGTP", 1)},
    **{f"{unit}iB": 1024**power for power, unit in enumerate("KMGTP", 1)},
}
_SIZE = re.compile(r"([0-9.]+) ?([kKMGTP]?i?B)")


def size(text: str) -> int | None:
    """Bytes of `4.26MB`, `10.5MiB`; None where it is no size."""
    match = _SIZE.fullmatch(text.strip())
    try:
        return round(float(match[1]) * _UNITS[match[2].replace("KB", "kB")]) if match else None
    except (KeyError, ValueError):
        return None


def _percent(text: Any) -> float | None:
    try:
        return round(float(str(text).removesuffix("%")), 1)
    except ValueError:
        return None


def _time(value: Any) -> str:
    """As docker tells it; '' for its year 1, which stands for never."""
    text = str(value or "")
    return "" if text.startswith("0001-") else text


def _labels(found: Any) -> dict[str, str]:
    pairs = (found or {}).items()
    return {str(key): _plain(value) for key, value in pairs if str(key).startswith(_KEPT_LABELS)}


def _plain(value: Any) -> str:
    """A label on one line: anybody can write anything into it."""
    return "".join(character if character.isprintable() else " " for character in str(value))[:_LONGEST]


def _ports(found: Mapping[str, Any]) -> list[str]:
    """`127.0.0.1:8080→80/tcp`, `80/tcp`; an address for all (and its like of IPv6) once, as `8080→80/tcp`."""
    told: list[str] = []
    for inner, outer in found.items():
        told += [f"{_host(each.get('HostIp', ''))}{each.get('HostPort')}→{inner}" for each in outer or []] or [inner]
    return list(dict.fromkeys(told))


def _host(address: str) -> str:
    return "" if address in ("", "0.0.0.0", "::") else f"{address}:"  # noqa: S104 - as docker tells it


def _mount(found: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(found.get("Type", ""))
    return {
        "kind": kind,
        "source": str((found.get("Name") if kind == "volume" else found.get("Source")) or ""),
        "target": str(found.get("Destination", "")),
        "is_read_only": not found.get("RW", True),
    }


def _parts(output: str) -> dict[str, list[str]]:
    """Lines by the `=word` that they stand below; what stands behind the word is its first line."""
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("="):
            word, _, rest = line.removeprefix("=").partition(" ")
            lines = parts.setdefault(word, [])
            if rest or word == "problem":
                lines.append(rest)
        else:
            lines.append(line)
    return parts


def _rows(parts: Mapping[str, list[str]], name: str) -> list[dict[str, Any]]:
    found = []
    for line in parts.get(name, []):
        try:
            row = json.loads(line.replace("\\u0000", "\\ufffd"))
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _roles(lines: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    roles: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        environment, role, colour, release, *_ = [*line.split(), "", "", "", ""]
        if role in ("live", "standby", "locked"):
            roles.setdefault(environment, {})[role] = [colour, release]
        elif role in ("volume", "image"):
            known = roles.setdefault(environment, {}).setdefault(f"{role}s", [])
            if colour not in known:
                known.append(colour)
    return roles


def _disk(parts: Mapping[str, list[str]]) -> dict[str, Any] | None:
    """Bytes: of images what is their own alone and what they share, of volumes and containers (what they wrote), of the
    build cache, and of the folders of environments."""
    told = _rows(parts, "disk")
    if not told:
        return None
    found = told[0]
    folders: dict[str, int] = {}
    for line in parts.get("folders", []):
        environment, _, kilobytes = line.partition(" ")
        if kilobytes.isdigit():
            folders[environment] = folders.get(environment, 0) + int(kilobytes) * 1024
    return {
        "images": {
            str(each.get("ID")): [size(str(each.get("UniqueSize"))) or 0, size(str(each.get("SharedSize"))) or 0]
            for each in found.get("Images") or []
        },
        "volumes": {str(each.get("Name")): size(str(each.get("Size"))) for each in found.get("Volumes") or []},
        "containers": {
            str(each.get("ID")): size(str(each.get("Size", "")).partition(" (")[0])
            for each in found.get("Containers") or []
        },
        "build_cache": sum(size(str(each.get("Size"))) or 0 for each in found.get("BuildCache") or []),
        "folders": folders,
    }
