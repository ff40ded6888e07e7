"""A server without what an environment has left there besides its folder: what asks it, what runs of it, its images.

In that order, and each only where the one before went well: a proxy never sends requests to what is gone, and no files
go from under what still runs. What is not there is passed over, so that all may run again, after a break too: what is
to be known then (copies of configurations, names of stacks and volumes) is in `~/.devflow/leaving-<environment>` until the
end. Docker's volumes hold data and stay; a line `stays …` on standard output names each, and all else that is left on
purpose. What went wrong is on standard error.
"""

from __future__ import annotations

import re

from devflow.commands import haproxy, nginx
from devflow.core.errors import InvalidError
from devflow.core.shell import quote

STAYS = "stays "
NOT_OURS = 3
STOP_SECONDS = 30
"""How long a process gets to end by itself before it is killed."""
STACK_SECONDS = 90

_ID = re.compile(r"[0-9a-f]{8,32}")


def head(environment_id: str) -> str:
    """The first line of what follows. Raises InvalidError."""
    if not _ID.fullmatch(environment_id):
        raise InvalidError(f"{environment_id!r} is not the id of an environment.")
    return f"environment={quote(environment_id)}\n"


_PREPARE = (
    'sites=$HOME/.devflow/sites/$environment\n: "${root:=$sites}"\n'
    f"deployment=leaving backend={haproxy.backend_of('')}$environment config={haproxy.CONFIG}\n"
    + nginx.FUNCTIONS
    + haproxy.FUNCTIONS
    + """\
umask 022
failed=''
problem() { printf '%s\\n' "$*" >&2; failed=1; }
stays() { printf 'stays %s\\n' "$*"; }
go_on() { [ -z "$failed" ] || exit 1; }
kept=$HOME/.devflow/leaving-$environment
run=$kept/run
mkdir -p "$run" || exit 1
"""
)

_NGINX = f"""\
# Nobody is asked for by nginx any more: its files go, and come back where nginx cannot do without them.
leave_nginx() {{
  [ -d "$nginx_folder" ] || return 0
  for file in "$nginx_folder/$environment.adopted"*; do
    [ ! -e "$file" ] || stays "file $file, the site file that was there before the panel's"
  done
  for file in "$nginx_site" "$nginx_upstream" "$nginx_folder/$environment-nodes.conf"; do
    [ ! -f "$file" ] || cp "$file" "$kept/" || {{ problem "$file cannot be read by $me."; return; }}
  done
  set -- "$kept/$environment".* "$kept/$environment-nodes.conf"
  [ -f "$1" ] || shift
  [ -f "$1" ] || return 0
  if ! command -v nginx >/dev/null; then leave_nginx_files && rm -f "$kept/$environment"*; return; fi
  may_as_root nginx -T || {{ problem "$me may not test nginx's configuration: see /etc/sudoers.d."; return; }}
  lock_nginx
  leave_nginx_files || {{ exec 8<&-; return; }}
  if ! said=$(test_nginx); then
    put_nginx_back "$@"
    problem "nginx's configuration does not pass its test without this environment's files, so they were put back: $said"
  elif nginx_runs && ! said=$(reload_nginx); then
    put_nginx_back "$@"
    problem "nginx was told to reload and did not, so this environment's files were put back: $said"
  else rm -f "$kept/$environment"*
  fi
  exec 8<&-
}}
leave_nginx_files() {{
  said=$(nginx_remove "$nginx_site" "$nginx_upstream" "$nginx_folder/$environment-nodes.conf" "$nginx_site.next" "$nginx_upstream.next" "$nginx_folder/$environment-nodes.conf.next" 2>&1) ||
    {{ problem "nginx's files of this environment cannot be removed by $me: $said"; return 1; }}
}}
put_nginx_back() {{
  for file in "$@"; do
    if [ -f "$file" ] && [ ! -f "$nginx_folder/${{file##*/}}" ]; then nginx_write "$nginx_folder/${{file##*/}}" <"$file"; fi
  done
}}
leave_logs() {{
  log={nginx.log_file("$environment")}
  if is_master; then as_root sh -c 'rm -f "$1"*' sh "$log"; fi
  for file in "$log"*; do
    [ ! -e "$file" ] || stays "log $file, until it is rotated away"
  done
}}
"""

_HAPROXY = """\
leave_haproxy() {
  [ -d "${config%/*}" ] || return 0
  exec 8<"${config%/*}"
  if flock -w "$lock_seconds" 8; then leave_haproxy_part; else problem "Something else changes $config for $lock_seconds s already."; fi
  exec 8<&-
  [ -f "$kept/haproxy" ] || return 0
  if [ -d /run/systemd/system ] && systemctl --quiet is-active haproxy && ! said=$(as_root systemctl reload haproxy 2>&1); then
    problem "HAProxy does not serve by its new configuration: it was told to reload and did not. $(echo $said)"
    return
  fi
  rm -f "$kept/haproxy"
}
leave_haproxy_part() {
  has_part "$config" || return 0
  grep -qxF -e "$ends" "$config" || { problem "$config has the line '$begins' and no '$ends': remove that part by hand."; return; }
  is_master || { problem "$me may not write $config and reload HAProxy: that needs root, or sudo without a password."; return; }
  as_root cp -p "$config" "$config.devflow" && without_part | as_root tee "$config.devflow" >/dev/null || { problem "$config cannot be written."; return; }
  if ! said=$(as_root haproxy -c -f "$config.devflow" 2>&1); then
    as_root rm -f "$config.devflow"
    problem "HAProxy would not take its configuration without this environment's part, so it is as before: $(printf '%s\\n' "$said" | alerts)"
    return
  fi
  : >"$kept/haproxy"
  as_root mv "$config.devflow" "$config"
  as_root rm -f "$config.devflow-$environment" "$config.before-devflow-$environment"
  for before in "$config".before-devflow*; do  # of others, who were there with it
    has_part "$before" || continue
    ( config=$before; without_part ) >"$run/before" && as_root tee "$before" <"$run/before" >/dev/null
  done
}
has_part() { [ -r "$1" ] && grep -qxF -e "$begins" "$1"; }
"""

_UNITS = f"""\
unit_is() {{ systemctl "$scope" show --property="$2" --value "$1" 2>/dev/null; }}
systemd() {{ if [ "$scope" = --user ]; then systemctl --user "$@"; else as_root systemctl --no-ask-password "$@"; fi; }}
state_of() {{ case $(unit_is "$1" ActiveState) in ''|inactive|failed) return 1 ;; esac; }}
ended() {{ tries=$(($2 * 5)); while state_of "$1"; do [ "$tries" -gt 0 ] || return 1; tries=$((tries - 1)); sleep 0.2; done; }}
stop_unit() {{
  state_of "$1" || return 0
  if [ "$scope" = --system ] && ! is_master; then problem "$me may not stop $1: that needs root, or sudo without a password."; return; fi
  systemd stop --no-block "$1" >/dev/null 2>&1
  ended "$1" {STOP_SECONDS} || systemd kill --signal=KILL "$1" >/dev/null 2>&1
  ended "$1" 5 || problem "$1 does not stop ($(unit_is "$1" ActiveState))."
}}
leave_units() {{
  [ -d /run/systemd/system ] || return 0
  export XDG_RUNTIME_DIR="${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}"
  for scope in --system --user; do
    if [ "$scope" = --system ]; then folder=/etc/systemd/system; else folder=$HOME/.config/systemd/user; fi
    name=devflow-$environment
    stop_unit "$name-retire.timer"
    stop_unit "$name-retire.service"
    for unit in "$name-blue.service" "$name-green.service"; do
      stop_unit "$unit"
      [ -f "$folder/$unit" ] || continue
      if [ "$scope" = --user ]; then
        systemd disable --quiet "$unit" >/dev/null 2>&1
        rm -f "$folder/$unit" "$folder"/*.wants/"$unit"
      elif is_master; then
        systemd disable --quiet "$unit" >/dev/null 2>&1
        as_root rm -f "$folder/$unit" "$folder"/*.wants/"$unit"
      else problem "$me may not remove $folder/$unit: that needs root, or sudo without a password."
      fi
      [ ! -f "$folder/$unit" ] || continue
      systemd daemon-reload >/dev/null 2>&1
      systemd reset-failed "$unit" >/dev/null 2>&1
    done
  done
}}
"""

# `dk` is docker as the login user, or through sudo. Where it does not answer, that matters only to who had containers.
_DOCKER = (
    """\
find_docker() {
  command -v docker >/dev/null || return 1
  if said=$(docker version --format '{{.Server.Version}}' 2>&1); then dk() { docker "$@"; }; return 0; fi
  if command -v sudo >/dev/null && sudo -n docker version >/dev/null 2>&1; then dk() { sudo -n docker "$@"; }; return 0; fi
  for file in "$kept/volumes" "$kept/stacks" "$root/.devflow/volumes" "$root/.devflow/compose" "$root/.devflow/build" "$root"/releases/*/.devflow-image "$sites/.devflow/build"; do
    if [ -e "$file" ]; then problem "Docker does not answer $me: $(printf '%s' "$said" | tail -n 1)"; return 1; fi
  done
  return 1
}
projects="devflow-$environment devflow-$environment-blue devflow-$environment-green"
containers() {
  dk ps -aq --no-trunc --filter "label=devflow.environment=$environment"
  for project in $projects; do dk ps -aq --no-trunc --filter "label=com.docker.compose.project=$project"; done
}
swarm_is() { [ "$(dk info --format "{{.Swarm.$1}}" 2>/dev/null)" = "$2" ]; }
tasks_here() { dk ps -aq --filter "label=devflow.environment=$environment" --filter label=com.docker.swarm.service.id; }
of_stack() { dk "$1" ls -q --filter "label=com.docker.stack.namespace=$stack"; }
ours_of_stack() { dk service ls -q --filter "label=devflow.environment=$environment"; }
"""
    + f"""\
leave_stacks() {{
  swarm_is LocalNodeState active || return 0
  if swarm_is ControlAvailable true; then
    ids=$(ours_of_stack) || {{ problem 'The swarm does not answer.'; return; }}
    if [ -n "$ids" ]; then
      dk service inspect --format '{{{{index .Spec.Labels "com.docker.stack.namespace"}}}}' $ids | sort -u >>"$kept/stacks"
      said=$(dk service rm $ids 2>&1) || {{ problem "Services of the swarm cannot be removed: $said"; return; }}
    fi
    if [ -f "$kept/stacks" ]; then
      sort -u "$kept/stacks" >"$run/stacks"
      while read -r stack; do [ -z "$stack" ] || leave_stack; done <"$run/stacks"
      [ -n "$failed" ] || rm -f "$kept/stacks"
    fi
  fi
  tries={STACK_SECONDS}
  while [ -n "$(tasks_here)" ]; do
    [ "$tries" -gt 0 ] || {{ problem 'Tasks of the swarm still run here: its managers remove them first.'; return; }}
    tries=$((tries - 1)); sleep 1
  done
}}
"""
    + """\
# What the stack had besides services: a network can go once its tasks have ended.
leave_stack() {
  [ -z "$(of_stack service)" ] || { stays "stack $stack, which has services of others"; return; }
  tries=30
  for kind in secret config network; do
    while ids=$(of_stack "$kind") && [ -n "$ids" ]; do
      said=$(dk "$kind" rm $ids 2>&1 >/dev/null) || :
      [ -n "$(of_stack "$kind")" ] || break
      [ "$tries" -gt 0 ] || { problem "The $kind of the stack $stack cannot be removed: $said"; break; }
      tries=$((tries - 1)); sleep 1
    done
  done
}
# The names of volumes, before that is gone which tells them.
note_volumes() {
  {
    cat "$root/.devflow/volumes" "$sites/.devflow/volumes"
    cut -d ' ' -f 2 "$root/.devflow/compose.volumes"
    for id in $(containers | sort -u); do dk inspect --format '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Name}}{{end}}{{end}}' "$id"; done
    dk volume ls -q --filter "label=devflow.environment=$environment"
    dk volume ls -q --filter "label=com.docker.compose.project=devflow-$environment"
    dk volume ls -q | grep "^devflow-${environment}_"
  } 2>/dev/null | grep . >>"$kept/volumes"
  [ -s "$kept/volumes" ] || rm -f "$kept/volumes"
}
tell_volumes() {
  [ -f "$kept/volumes" ] || return 0
  sort -u "$kept/volumes" >"$run/volumes"
  while read -r volume; do
    if dk volume inspect "$volume" >/dev/null 2>&1; then stays "volume $volume"; fi
  done <"$run/volumes"
}
leave_containers() {
  ids=$(containers | sort -u)
  if [ -n "$ids" ]; then
    dk stop --time 10 $ids >/dev/null 2>&1
    dk rm --force $ids >/dev/null 2>&1
    ids=$(containers | sort -u)
    [ -z "$ids" ] || { said=$(dk rm --force $ids 2>&1 >/dev/null); problem "Containers of this environment cannot be removed: $said"; return; }
  fi
  for project in $projects; do
    for id in $(dk network ls -q --filter "label=com.docker.compose.project=$project"); do
      said=$(dk network rm "$id" 2>&1) || case $(dk network inspect --format '{{len .Containers}}' "$id" 2>/dev/null) in
        ''|0) problem "The network $id of $project cannot be removed: $said" ;;
        *) stays "network $(dk network inspect --format '{{.Name}}' "$id"), which other containers use" ;;
      esac
    done
  done
}
leave_images() {
  dk image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' >"$run/images"
  while read -r id name; do
    case $name in
      "devflow/$environment:<none>"|"devflow-$environment-"*":<none>"|"devflow-stack/$environment-"*":<none>") leave_image "$id" ;;
      "devflow/$environment:"*|"devflow-$environment-"*|"devflow-stack/$environment-"*) leave_image "$name" ;;
    esac
  done <"$run/images"
  for id in $(dk image ls -q --no-trunc --filter dangling=true --filter "label=devflow.environment=$environment"); do leave_image "$id"; done
}
leave_image() {
  if said=$(dk image rm "$1" 2>&1); then return; fi
  dk image inspect "$1" >/dev/null 2>&1 || return 0
  case $said in
    *'being used'*|*'is using'*) stays "image $1, which other containers use" ;;
    *) problem "The image $1 cannot be removed: $said" ;;
  esac
}
"""
)

STOP = (
    _PREPARE
    + _NGINX
    + _HAPROXY
    + _UNITS
    + _DOCKER
    + """\
leave_nginx
leave_haproxy
go_on
leave_units
has_docker=''
if find_docker; then
  has_docker=1
  note_volumes
  leave_stacks
  leave_containers
  tell_volumes
fi
go_on
leave_logs
[ -z "$has_docker" ] || leave_images
"""
)
"""Takes the environment out of proxies, ends what runs of it, and removes its images. Begins with `head`; `root` is its
folder, or empty on a server that only balances or builds. `failed` says whether something is to be tried again."""

END = """\
rm -rf -- "$sites" || failed=1
[ -n "$failed" ] || rm -rf -- "$kept"
"""
"""After all that is told of it elsewhere has gone well."""

# What shows that it is ours goes last: where something cannot be removed, it is tried again. Containers may have written
# there as root, and the folder above may be another's.
FOLDER = f"""\
[ -e "$root" ] || [ -L "$root" ] || exit "${{failed:-0}}"
[ -d "$root/.devflow" ] || exit {NOT_OURS}
owner=''
[ ! -s "$root/.devflow/owner" ] || read -r owner _ <"$root/.devflow/owner"
if [ "${{environment:-$owner}}" != "$owner" ] && [ -n "$owner" ]; then
  echo "{STAYS}folder $root, which is another environment's"
  exit "${{failed:-0}}"
fi
clear_root() {{ "$@" find "$root/" -mindepth 1 -maxdepth 1 ! -name .devflow -exec rm -rf -- {{}} + && "$@" rm -rf -- "$root"; }}
if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then clear_root env 2>/dev/null || clear_root sudo -n --
else clear_root env
fi
if [ -d "$root" ] && [ -z "$(ls -A "$root")" ]; then echo "{STAYS}folder $root, empty, in one that is another's"
elif [ -e "$root" ]; then failed=1
fi
"""
"""The folder `root`, if it is a site's: ends with NOT_OURS where it is not. Another environment's (commands/lock.py) stays."""
