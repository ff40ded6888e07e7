"""Images of a site: built once from the commit, brought to the servers, known there by their id, and pruned.

All run with the variables of engine/script.py, and with the options of recipes/dockerfile.py. A server knows the images
of an environment as `devflow/<environment>:<tag>`, where the tag says commit and what else went into the build; a
release knows its image by the id in the file `.devflow-image` of its folder. The panel brings an image to a server that
waits for it (engine/images.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from devflow.commands import git
from devflow.core.shell import quote

IMAGE_FILE, ENV_FILE, MORE_FILE = ".devflow-image", ".devflow-env", ".devflow-env-more"
"""Of a release's folder: `<image id> <name>`; variables as docker reads them; variables of several lines, as sh does."""
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_LAYER_FILE = re.compile(r"[0-9a-f]{64}/layer\.tar|blobs/sha256/[0-9a-f]{64}")

CHECK_DOCKER = """\
command -v docker >/dev/null || explain "Docker is not installed on $server. Install it there: apt-get install docker.io"
tries=15
until said=$(docker version --format '{{.Server.Version}}' 2>&1); do
  case $said in *"permission denied"*)
    me=$(id -un)
    case " $(id -nG "$me") " in *' docker '*) explain "$me is in the group docker on $server by now, but this login is older. Restart the panel's worker, or sshd's session of $me, and deploy again." ;; esac
    explain "$me may not use Docker on $server. Put that user into the group docker (whoever is in it can do what root can): sudo usermod -aG docker $me" ;;
  esac
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || explain "Docker does not answer on $server: $(printf '%s' "$said" | tail -n 1) Look there: journalctl -u docker"
  sleep 2
done
"""
"""Whether the login user can use Docker. A daemon that is being restarted is waited for."""

FUNCTIONS = """\
with_variables() (  # runs a command that takes variables by their names; PATH and Docker are the server's own
  own_path=$PATH; own_home=$HOME
  user_env
  unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
  export PATH="$own_path" HOME="$own_home"
  if [ -n "${docker_config:-}" ]; then export DOCKER_CONFIG="$docker_config"; else unset DOCKER_CONFIG; fi
  exec "$@"
)
image_of() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; }
label_of() { docker image inspect --format "{{index .Config.Labels \\"$2\\"}}" "$1" 2>/dev/null; }
among() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }
last_error() { grep -iE 'error|fail|denied|no space|not found|no such|refused|unauthorized' "$1" | tail -n 1 | cut -c 1-400; }
registry_login() {
  docker_config=''
  [ -n "$option_registry_user" ] || return 0
  [ -n "$option_registry_password" ] && among "$option_registry_password" "$variable_names" || explain "The registry's password is looked for in the variable '$option_registry_password', and there is none of that name. Add it to the variables of the environment, as a secret."
  docker_config=$run/docker
  mkdir -p -m 700 "$docker_config"
  host=${option_registry%%/*}
  if ! ( user_env; eval "printf %s \\"\\$$option_registry_password\\"" ) | DOCKER_CONFIG="$docker_config" docker login --username "$option_registry_user" --password-stdin "$host" >"$run/registry" 2>&1; then
    registry_failed "log in as $option_registry_user"
  fi
}
registry_call() { if [ -n "${docker_config:-}" ]; then DOCKER_CONFIG="$docker_config" docker "$@"; else docker "$@"; fi; }
registry_failed() {
  if [ -n "${docker_config:-}" ]; then rm -rf "$docker_config"; fi
  cat "$run/registry"
  reason=$(last_error "$run/registry"); host=${option_registry%%/*}
  reason=${reason:-$(tail -n 1 "$run/registry")}
  case $reason in
    *unauthorized*|*denied*|*"no basic auth"*|*"authentication required"*) explain "The registry $host does not let $server $1: $reason. Set user and password of the registry in the settings of the environment, or correct them." ;;
    *"HTTPS client"*|*certificate*) explain "$server does not trust the registry $host: $reason. Give it a certificate that is known there, or name it under insecure-registries in /etc/docker/daemon.json." ;;
    *refused*|*"no such host"*|*timeout*|*"timed out"*|*"no route"*|*unreachable*|*EOF*|*"502"*|*"503"*) explain "The registry $host cannot be reached from $server: $reason. Is it up, and its address right?" ;;
    *"no space"*) explain "The disk is full: $reason. Free some space on $server, or at the registry, and deploy again." ;;
    *"manifest unknown"*|*"not found"*) explain "The registry $host has no such image any more: $reason. Deploy again." ;;
    *) explain "$server could not $1 at the registry $host: $reason" ;;
  esac
}
"""

_REMEMBER = f"""\
mkdir -p "$path"
printf '%s %s\\n' "$image" "$image_name" >"$path/{IMAGE_FILE}.new"
mv -T "$path/{IMAGE_FILE}.new" "$path/{IMAGE_FILE}"
"""

_CHECKOUT = (
    'release_path=$path; path=$root/.devflow/build; [ -d "$root/.devflow" ] || mkdir -p "$root/.devflow"\n'
    + git.CHECKOUT
    + 'rm -f "$path/REVISION"\nfind "$path" -print0 | xargs -0 touch -h\ncontext=$path; path=$release_path\n'
)
"""A checkout of its own: nothing of the panel's, and nothing shared, gets into the image. Git gives all files the time of the
commit, and BuildKit takes files of the same size and time for the same as in the build before."""

_NAME = """\
[ ! -s "$run/commit" ] || read -r commit <"$run/commit"
short=$(printf '%.12s' "$commit")
machine=$(uname -m)
tag=$short-$( ( user_env; printf '%s\\n' "$commit" "$option_dockerfile" "$option_target" "$option_build_secrets" "$machine"
  for name in $option_build_args; do eval "printf '%s=%s\\n' \\"$name\\" \\"\\${$name-}\\""; done ) | sha256sum | cut -c 1-8)
image_name=devflow/$environment:$tag
"""

_ROOM = """\
place=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)
free=$(df -Pk "${place:-/var/lib/docker}" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
if [ -n "$free" ] && [ "$free" -lt "$option_build_disk" ]; then
  explain "Only $free MB are free in ${place:-the folder of Docker} on $server; building an image wants $option_build_disk MB. Free some space (docker system df shows what is used), or lower the limit in the settings of the environment."
fi
free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
if [ "$free" -lt "$option_build_free_memory" ]; then
  explain "Only $free MB of memory are free on $server; building an image wants $option_build_free_memory MB. Stop something there, build elsewhere, or lower the limit in the settings of the environment."
fi
"""

_ARGUMENTS = """\
file=$context/$option_dockerfile
[ -f "$file" ] || explain "There is no file $option_dockerfile in the commit $short. Correct the Dockerfile's path in the settings of the environment, or add the file."
set -- --file "$file" --tag "$image_name" --iidfile "$run/iid" --label "devflow.environment=$environment" --label "devflow.deployment=$deployment" --label "devflow.commit=$commit" --label "devflow.tag=$tag"
[ -z "$option_target" ] || set -- "$@" --target "$option_target"
if [ "$clean" = 1 ]; then set -- "$@" --no-cache; fi
for name in $option_build_args; do
  among "$name" "$variable_names" || explain "The build argument $name is no variable of this environment. Add the variable, or take the name out of the build arguments."
  ! among "$name" "$secret_names" || explain "The variable $name is a secret, and a build argument stays readable in the image. Make it a build secret (RUN --mount=type=secret,id=$name), or say of the variable that it is no secret."
  set -- "$@" --build-arg "$name"
done
wants_buildkit=''
if grep -qiE '^# *syntax *=|--mount=|<<|^ *(COPY|ADD) .*--(link|chmod|parents|exclude)' "$file"; then wants_buildkit=1; fi
for name in $option_build_secrets; do
  among "$name" "$variable_names" || explain "The build secret $name is no variable of this environment. Add the variable, or take the name out of the build secrets."
  set -- "$@" --secret "id=$name,env=$name"; wants_buildkit=1
done
has_buildkit=''; if docker buildx version >/dev/null 2>&1; then has_buildkit=1; fi
if [ -n "$wants_buildkit" ] && [ -z "$has_buildkit" ]; then
  explain "This Dockerfile, or a build secret, needs BuildKit, which $server has not. Install it there: apt-get install docker-buildx"
fi
kernel=$(docker info --format '{{.MemoryLimit}} {{.CPUCfsQuota}}' 2>/dev/null) || kernel=''
limits=''
if [ -n "$option_build_memory$option_build_cpus" ] && [ -n "$wants_buildkit" ]; then
  echo "Built without limits of memory and CPU: BuildKit, which this Dockerfile needs, has none."
else
  if [ -n "$option_build_memory" ]; then
    case $kernel in true*) set -- "$@" --memory "$option_build_memory" --memory-swap "$option_build_memory"; limits=1 ;; *) echo "Built without a limit of memory: the kernel of $server has none for containers." ;; esac
  fi
  if [ -n "$option_build_cpus" ]; then
    case $kernel in *true) set -- "$@" --cpu-period 100000 --cpu-quota "$(awk "BEGIN { print int(100000 * $option_build_cpus) }")"; limits=1 ;; *) echo "Built without a limit of CPU: the kernel of $server has none for containers." ;; esac
  fi
fi
# what there are limits for is the builder before BuildKit
if [ -n "$has_buildkit" ] && [ -z "$limits" ]; then buildkit=1; set -- "$@" --progress plain; else buildkit=0; fi
"""

_BUILD = """\
exec 7<"$(command -v docker)"  # one file that all users of a host have in common
if ! flock -n 7; then
  builds=$(cat "$devflow/building" 2>/dev/null) || builds=''
  echo "Waiting for ${builds:+the build of $builds, or }another build on $server to end."
  flock 7
fi
printf '%s\n' "$site" >"$devflow/building"
echo "Building $image_name from $option_dockerfile of the commit $short"
rm -f "$run/iid"
{
  built=0
  DOCKER_BUILDKIT=$buildkit with_variables docker build "$@" "$context" 2>&1 || built=$?
  echo "$built" >"$run/built"
} | tee "$run/build"
rm -f "$devflow/building"
exec 7<&-
read -r built <"$run/built"
rm -rf "$context"
if [ "$built" -ne 0 ] || [ ! -s "$run/iid" ]; then
  reason=$(last_error "$run/build")
  if full=$(grep -i 'no space left on device' "$run/build"); then
    explain "The disk of $server is full: $(printf '%s\n' "$full" | tail -n 1 | cut -c 1-300). Free some space there (docker system df shows what is used), and deploy again."
  fi
  explain "Docker could not build the image on $server: ${reason:-it ended with exit code $built, see above}"
fi
image=$(cat "$run/iid")  # it ends without a newline
image_of "$image" >/dev/null || explain "Docker on $server does not know the image that it has just built ($image)."
"""

_PUSH = """\
if [ -n "$option_registry" ]; then
  registry_login
  echo "Pushing to $option_registry:$tag"
  docker tag "$image" "$option_registry:$tag"
  registry_call push "$option_registry:$tag" >"$run/registry" 2>&1 || registry_failed "push"
  tail -n 1 "$run/registry"
  digest=$(sed -n 's/.*digest: \\(sha256:[0-9a-f]*\\).*/\\1/p' "$run/registry" | tail -n 1)
  [ -n "$digest" ] || explain "The registry took the image without telling its digest: $(tail -n 1 "$run/registry")"
  docker image rm "$option_registry:$tag" >/dev/null
  if [ -n "$docker_config" ]; then rm -rf "$docker_config"; fi
  note digest "$digest"
fi
"""

BUILD = (
    CHECK_DOCKER
    + FUNCTIONS
    + _NAME
    + """\
image=''
if [ "$clean" != 1 ]; then image=$(image_of "$image_name") || image=''; fi
if [ -n "$image" ] && [ "$(label_of "$image" devflow.environment)" = "$environment" ]; then
  echo "The image $image_name is here already: commit and settings of the build are unchanged."
else
"""
    + _ROOM
    + _CHECKOUT
    + _ARGUMENTS
    + _BUILD
    + """\
fi
printf '%s\\n' "$image" >"$run/image"
note image "$image"
echo "Image $image"
"""
    + _REMEMBER
    + _PUSH
)
"""On the builder: makes the image, unless it is there, and notes its id (and its digest, where there is a registry)."""

BRING = (
    FUNCTIONS
    + """\
image=''
if [ -s "$run/image" ]; then read -r image <"$run/image"
else
  frame "await image"
  until { read -r told <"$run/told_image"; } 2>/dev/null; do wait_there; done
  if [ "$told" = 0 ]; then
    explain "$(cat "$run/brought" 2>/dev/null || echo "The panel could not bring the image to $server.")"
  fi
  if [ -n "$option_registry" ]; then
    registry_login
    echo "Pulling $option_registry@sha256:$told"
    registry_call pull --quiet "$option_registry@sha256:$told" >"$run/registry" 2>&1 || registry_failed "pull"
    if [ -n "$docker_config" ]; then rm -rf "$docker_config"; fi
    image=$(image_of "$option_registry@sha256:$told")
  else
    image=sha256:$told
    if [ -s "$run/brought" ]; then cat "$run/brought"; fi
  fi
fi
image_of "$image" >/dev/null || explain "The image $image has not come to $server."
image_name=devflow/$environment:$(label_of "$image" devflow.tag)
docker tag "$image" "$image_name"
if [ -n "${told:-}" ] && [ -n "$option_registry" ]; then docker image rm "$option_registry@sha256:$told" >/dev/null || :; fi
echo "Image $image"
"""
    + _REMEMBER
    + f"""\
umask 077
newline=$(printf '\\n.'); newline=${{newline%.}}
(
  user_env
  for name in $variable_names; do
    [ "$name" != "$option_registry_password" ] || continue
    eval "value=\\${{$name-}}"
    case $value in
      *"$newline"*) printf '%s\\n' "$name" >&3 ;;
      *) printf '%s=%s\\n' "$name" "$value" ;;
    esac
  done
) >"$path/{ENV_FILE}" 3>"$run/more"
: >"$path/{MORE_FILE}"
while read -r name; do
  printf "%s='" "$name"
  ( user_env; eval "printf %s \\"\\$$name\\"" ) | sed "s/'/'\\\\\\\\''/g"
  printf "'\\nexport %s\\n" "$name"
done <"$run/more" >"$path/{MORE_FILE}"
"""
)
"""On each server: has the image there, by id, and keeps the variables beside the release for its containers."""

PRUNE = f"""\
kept=' '
for file in "$root"/releases/*/{IMAGE_FILE}; do
  if [ -f "$file" ] && read -r id _ <"$file"; then kept="$kept$id "; fi
done
docker image ls --no-trunc --format '{{{{.ID}}}} {{{{.Repository}}}}:{{{{.Tag}}}}' "devflow/$environment" | while read -r id name; do
  case $kept in *" $id "*) continue ;; esac
  if docker image rm "$name" >/dev/null 2>&1; then echo "Removed the image $name"; else echo "The image $name is still used: it stays."; fi
done
"""
"""Removes images of this environment, by their names, that no kept release has; never one that a container uses."""

LAYERS_THERE = "docker image ls --all --quiet --no-trunc | sort -u | xargs -r docker image inspect --format '{{json .RootFS.Layers}}'"
"""Prints the layers of each image, a list in JSON on a line each."""


def is_id(image: str) -> bool:
    """Whether this is an image's whole id."""
    return bool(_IMAGE_ID.fullmatch(image))


def layers_of(image: str) -> str:
    """Prints the image's layers, from the lowest, as a list in JSON."""
    return f"docker image inspect --format '{{{{json .RootFS.Layers}}}}' {quote(image)}"


def manifest(image: str) -> str:
    """Prints the table of contents of the image's archive."""
    return f"docker save {quote(image)} | tar -xOf - manifest.json"


def save(image: str, without: Iterable[str] = ()) -> str:
    """Prints the image's archive, `without` these files of it."""
    left_out = " ".join(map(quote, without))
    return f"docker save {quote(image)}" + (f" | tar --delete -f - {left_out}" if left_out else "")


def common_layers(layers: Sequence[str], others: Iterable[Sequence[str]]) -> int:
    """How many of the lowest layers one of the other images has too: a layer is the same only upon the same ones."""
    longest = 0
    for other in others:
        same = 0
        while same < min(len(layers), len(other)) and layers[same] == other[same]:
            same += 1
        longest = max(longest, same)
    return longest


def files_of(manifest_json: str, first: int) -> tuple[str, ...]:
    """The files of the `first` lowest layers in the archive, without those that a higher layer has too; () where that
    cannot be told."""
    try:
        [described] = json.loads(manifest_json)
        files = [str(file) for file in described["Layers"]]
    except (ValueError, KeyError, TypeError):
        return ()
    wanted = set(files[first:])
    left_out = tuple(dict.fromkeys(file for file in files[:first] if file not in wanted))
    return left_out if all(map(_LAYER_FILE.fullmatch, left_out)) else ()
