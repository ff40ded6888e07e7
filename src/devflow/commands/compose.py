"""A Compose project on a server: what runs once in the base project, what runs under a colour, and what both are made of.

The repository's own file is never changed. `docker compose config` resolves it, and jq derives two files from that:
`devflow-<environment>`, the *base*, has the services that are left alone or recreated, with all networks and volumes;
`devflow-<environment>-<colour>` has those that are replaced. Both are in `<root>/.devflow/compose/<release>`, a folder
that only the login user can read, since they hold the values of variables:

- `resolved.json`: the Compose file with the environment's variables;
- `treatment`: lines `<how> <services>`, as the plan had them (core/services.py);
- `images`: lines `<service> <image id>`, so that a tag that moves does not change what is gone back to;
- `base.json`, `blue.json`, `green.json`: what was derived.

`<root>/.devflow/base` is a link to the release that the base project is of: what a service mounts from the repository lies
under that name, which stays the same. `<root>/.devflow/compose.volumes` has the volumes that hold data: `<key> <name>
<driver>`, and `gone` where the Compose file has them no more. `compose.moved` has, during a deployment, the containers of
the colour that serves which were stopped because what keeps data is of the base now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devflow.commands import colours, containers, images
from devflow.core.shell import quote

LOG_LINES = 20
HEALTH_SECONDS = 300
"""How long a service's own health check may call it starting, where the setting says nothing else."""
MARK = "\x1e"
"""Ends a part of what `look_into` prints."""

_HOST_PORTS = (
    colours.PORT_TAKEN
    + r"""
# check_host_ports SERVICE=[ADDRESS:]PORT[/udp]…: what services beside the colours publish of this server is free, or theirs.
check_host_ports() {
  [ $# -gt 0 ] || return 0
  docker ps -q | xargs -r docker inspect --format '{{$name := .Name}}{{$of := index .Config.Labels "com.docker.compose.project"}}{{range $inside, $all := .NetworkSettings.Ports}}{{range $all}}{{.HostPort}}/{{$inside}} {{$name}} {{$of}}{{println}}{{end}}{{end}}' >"$run/published" 2>/dev/null || :
  for each in "$@"; do
    wanted=${each#*=} kind=tcp
    case $wanted in */udp) kind=udp ;; */*) continue ;; esac
    wanted=${wanted%/*} address=''
    case $wanted in *:*) address=${wanted%:*} ;; esac
    wanted=${wanted##*:}
    case $wanted in *[!0-9]*|'') continue ;; esac  # any of a range
    holders=$(sed -n "s,^$wanted/[0-9]*/$kind /,,p" "$run/published")
    ! printf '%s
' "$holders" | grep -q " devflow-$environment\$" || continue
    if by=$(port_taken "$wanted" "$address" "$kind"); then
      [ -z "$holders" ] || by="the container ${holders%% *}"
      explain "The service ${each%%=*} publishes port ${wanted}$(if [ "$kind" = udp ]; then echo /udp; fi) of $server, which is taken by $by. Nothing was changed: stop that, or publish another port in the Compose file."
    fi
  done
}
"""
)

CHECK = (
    images.CHECK_DOCKER
    + _HOST_PORTS
    + """\
version=$(docker compose version --short 2>/dev/null) || explain "Docker Compose (version 2) is not installed on $server. Install it there: apt-get install docker-compose (Debian 13), docker-compose-v2 (Ubuntu) or docker-compose-plugin (download.docker.com)"
case $version in v1.*|1.*) explain "Docker Compose on $server is version 1. Install version 2 there: apt-get install docker-compose-plugin" ;; esac
command -v jq >/dev/null || explain "jq is not installed on $server; the Compose file is read with it. Install it there: apt-get install jq"
set -f
check_host_ports ${compose_ports:-}
set +f
"""
)

# Of jq: values of variables go into services; where a .env file could not say a backtick, the true value.
_INJECT = r"""
def literal: gsub("\\$"; "$$");
($names | split(" ") | map(select(. != "")) | map({key: ., value: ($ENV[.] // "")}) | from_entries) as $values
| ($into | split(" ")) as $into
| .services |= with_entries(
    .key as $name
    | .value.environment = ((.value.environment // {}) | with_entries(
        $values[.key] as $true
        | if $true != null and .value == ($true | gsub("`"; "\\`") | literal) then .value = ($true | literal) else . end))
    | if $into | index($name) then .value.environment = ($values | map_values(literal)) + .value.environment else . end)
"""

# Of jq, for both projects: the pinned images, and whose it is.
_COMMON = r"""
def words: split(" ") | map(select(. != ""));
def pinned: if $images[.key] then .value.image = $images[.key] | .value.pull_policy = "never" | del(.value.build) else . end;
def labelled($name; $text): .value.labels = ((.value.labels // {}) + {($name): $text});
def on_loopback: [{mode: "ingress", host_ip: "127.0.0.1", target: ($inside | tonumber), published: $port, protocol: "tcp"}];
"""

_BASE = (
    _COMMON
    + r"""
($names | words) as $names
| def moved: if startswith($path + "/") then $link + .[($path | length):] elif . == $path then $link else . end;
.name = $project
| .services |= with_entries(
    select(.key as $name | $names | index($name))
    | pinned | labelled("devflow.environment"; $environment)
    | del(.value.profiles)
    | if $inside != "" and .key == $proxied then .value.ports = on_loopback else . end
    | .value.depends_on = ((.value.depends_on // {}) | with_entries(select(.key as $name | $names | index($name))))
    | if .value.volumes then .value.volumes |= map(if .type == "bind" then .source |= moved else . end) else . end)
| (.configs, .secrets) |= ((. // {}) | map_values(if .file then .file |= moved else . end))
"""
)

# A colour's services are called <name>-<colour>, so that whoever else is on a network of the base does not take one
# colour's for the other's; among themselves they have their own names, on a network of the colour.
_COLOUR = (
    _COMMON
    + r"""
($names | words) as $names | ($base_names | words) as $base_names
| . as $all
| ([$base_names[] as $name | $all.services[$name].networks // {} | keys[]] | unique) as $of_base
| def used: [$names[] as $name | $all.services[$name].networks // {} | keys[]];
def joins: . as $key | ($all.networks[$key].external // false) or ($of_base | index($key) != null);
def has_own: . as $key | (joins | not) or ([used[] | select(. == $key)] | length > 1);
def other_name: "\(.)-\($colour)";
.name = $project
| .services |= (with_entries(
    select(.key as $name | $names | index($name))
    | .key as $name
    | pinned
    | labelled("devflow.environment"; $environment) | labelled("devflow.release"; $release)
    | labelled("devflow.colour"; $colour) | labelled("devflow.restart"; (.value.restart // "no"))
    | .value.restart = "no"
    | del(.value.ports, .value.container_name, .value.profiles, .value.links)
    | if $name == $proxied then .value.ports = on_loopback | del(.value.deploy.replicas, .value.scale) else . end
    | .value.depends_on = ((.value.depends_on // {}) | with_entries(
        select(.key as $each | $names | index($each)) | .key |= other_name))
    | if .value.networks then .value.networks |= (to_entries | map(
        .key as $key | .value as $network
        | (if $key | joins then {key: $key, value: (($network // {}) | del(.aliases))} else empty end),
          (if $key | has_own then {key: "own-\($key)",
            value: (($network // {}) + {aliases: ([$name] + ($network.aliases // []) | unique)})} else empty end)
      ) | from_entries) else . end
    | .key |= other_name))
| .networks = ([used | unique[] | . as $key | $all.networks[$key] as $network
    | (if joins then {key: $key, value: {external: true, name: $network.name}} else empty end),
      (if has_own then {key: "own-\($key)", value: ($network | del(.name, .ipam, .external))} else empty end)
  ] | from_entries)
| .volumes |= ((. // {}) | map_values({external: true, name: .name}))
"""
)

_MOVES = r"""
# move_to_base SERVICE…: what keeps data and ran in a colour until now is stopped there before it starts in the base.
move_to_base() {
  keeps=" $(treated data) "
  for each in "$@"; do
    case $keeps in *" $each "*) ;; *) continue ;; esac
    for side in blue green; do
      for id in $(docker ps -q --no-trunc --filter "label=com.docker.compose.project=$base-$side" --filter "label=com.docker.compose.service=$each-$side"); do
        echo "$each keeps data and does not run beside itself: stopping it in the colour $side"
        echo "$id" >>"$root/.devflow/compose.moved"
        docker update --restart no "$id" >/dev/null
        docker stop --time "${drain_seconds:-10}" "$id" >/dev/null
      done
    done
  done
}
# move_back: what the colour that serves has again in it, after the base is as it was.
move_back() {
  [ -s "$root/.devflow/compose.moved" ] || return 0
  while read -r id; do
    policy=$(docker inspect --format '{{index .Config.Labels "devflow.restart"}} {{index .Config.Labels "devflow.release"}}' "$id" 2>/dev/null) || continue
    [ "${policy#* }" = "$serving" ] || continue
    docker update --restart "${policy% *}" "$id" >/dev/null
    docker start "$id" >/dev/null || :
  done <"$root/.devflow/compose.moved"
  rm -f "$root/.devflow/compose.moved"
}
# move_from_base WHAT-KEPT-DATA: what is of the colour now, and would write what it writes in the base, is stopped there.
move_from_base() {
  for each in $1; do
    case " $(treated accepted) " in *" $each "*) continue ;; esac
    case " $(treated replaced) " in *" $each "*) ;; *) continue ;; esac
    for id in $(docker ps -q --no-trunc --filter "label=com.docker.compose.project=$base" --filter "label=com.docker.compose.service=$each"); do
      docker inspect --format '{{range .Mounts}}{{if .RW}}{{or .Name .Source}}{{println}}{{end}}{{end}}' "$id" | grep . | while read -r place; do
        grep -qF "\"$place\"" "$home/resolved.json" || continue
        echo "$each keeps data and does not run beside itself: stopping it beside the colours"
        docker stop --time "${drain_seconds:-10}" "$id" >/dev/null
        break
      done
    done
  done
}
"""
"""Of services that keep data and change between base and colours, so that they never run in both."""

FUNCTIONS = (
    f"compose_inject={quote(_INJECT)}\ncompose_base_program={quote(_BASE)}\ncompose_colour_program={quote(_COLOUR)}\n"
    + _MOVES
    + r"""
wait_for_docker() {
@CHECK@}
base=devflow-$environment
base_link=$root/.devflow/base
compose_of() { home=$root/.devflow/compose/$1; }
# treated KIND: the names of the services that are treated so in the release of $home.
treated() { sed -n "s/^$1 //p" "$home/treatment" 2>/dev/null || :; }
# compose ARGUMENT…: over a derived file; the variables are for what is read only now (secrets of a variable's value).
compose() (
  cd "$home"
  if [ -f "$root/releases/${home##*/}/.env" ]; then set -- --env-file "$root/releases/${home##*/}/.env" "$@"; fi
  exec docker compose "$@" 2>&1
)
pins() { if [ -s "$home/images" ]; then jq -Rn '[inputs | split(" ") | {key: .[0], value: .[1]}] | from_entries' "$home/images"; else echo '{}'; fi; }
containers_of() { docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$1" --filter label=com.docker.compose.oneoff=False; }
# derive PROGRAM FILE [ARGUMENT…]: a file from the resolved one; nobody else may read it.
derive() (
  program=$1 file=$2
  shift 2
  umask 077
  jq --argjson images "$(pins)" --arg environment "$environment" --arg proxied "$(treated proxied)" "$@" "$program" "$home/resolved.json" >"$home/$file.new"
  mv "$home/$file.new" "$home/$file"
)
base_names() { printf '%s %s\n' "$(treated left)" "$(treated recreated)"; }
base_file() {
  inside=''
  if [ "$(treated in_place)" = 1 ] && [ -n "$proxy" ]; then inside=$(treated inside); fi
  derive "$compose_base_program" base.json --arg project "$base" --arg names "$(base_names)" \
    --arg path "$root/releases/$1" --arg link "$base_link" --arg inside "$inside" --arg port "$(cat "$home/port" 2>/dev/null || :)"
}
colour_file() {
  derive "$compose_colour_program" "$colour.json" --arg project "$base-$colour" --arg names "$(treated replaced)" \
    --arg base_names "$(base_names)" --arg colour "$colour" --arg release "$release" --arg inside "$(treated inside)" --arg port "$port"
}
# last_lines ID SERVICE: prints them, and sets lines_said to where they are found.
last_lines() {
  lines_said=$(docker logs --tail @LINES@ "$1" 2>&1) || :
  if [ -z "$lines_said" ]; then echo "$2 printed nothing"; lines_said='It printed nothing.'; return 0; fi
  echo "The last lines of $2:"
  printf '%s\n' "$lines_said" | sed 's/^/  | /'
  lines_said='Its last lines are above.'
}
seconds_up() { read -r now _ </proc/uptime; echo "${now%%.*}"; }
@SENTENCE@health_said() { docker inspect --format '{{range .State.Health.Log}}{{println .ExitCode .Output}}{{end}}' "$1" | grep . | tail -n 1 | cut -c 1-300; }
# states_of PROJECT: of each container its id, service, release, state, exit code, restarts, whether it ran out of memory, health.
states_of() {
  ids=$(containers_of "$1") || return 1
  [ -n "$ids" ] || return 0
  docker inspect --format '{{.ID}} {{index .Config.Labels "com.docker.compose.service"}} {{with index .Config.Labels "devflow.release"}}{{.}}{{else}}-{{end}} {{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{.State.OOMKilled}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' $ids 2>/dev/null || :
}
# look_at PROJECT BEFORE RELEASE SERVICE…: all run, none has restarted (but where the file BEFORE says so many), none is
# sick, none is of another release (where that is given). What is still starting, by its own health check, is waited for,
# and so is what is sick until ill_until (in seconds since the server's start), where that is set.
look_at() {
  project=$1 earlier=$2 wanted=$3
  shift 3
  until_when=$(($(seconds_up) + ${option_wait_seconds:-@HEALTH@})) told=''
  once=" $(treated once) "
  while :; do
    starting='' waited=''
    if ! states=$(states_of "$project"); then wait_for_docker; states=$(states_of "$project"); fi
    for each in "$@"; do
      named=${each%"${project#"$base"}"} found=''
      while read -r id service of status exit_code restarts is_oom sick; do
        [ "$service" = "$each" ] || continue
        found=1
        if [ -n "$wanted" ] && [ "$of" != "$wanted" ]; then explain "What runs of the service $named on $server is of another release."; fi
        had=$(sed -n "s/^$id //p" "$earlier" 2>/dev/null) || had=''
        why=''; if [ "$is_oom" = true ]; then why=' It ran out of memory.'; fi
        case "$once" in *" $named "*)
          case "$status $exit_code" in 'exited 0') continue ;; running*|created*|restarting*) starting="$starting $named"; continue ;; esac ;;
        esac
        if [ "$restarts" -gt "${had:-0}" ]; then last_lines "$id" "$named"; explain "The service $named on $server ended and was started again, $((restarts - ${had:-0})) times.$why $lines_said"; fi
        if [ "$status" != running ]; then last_lines "$id" "$named"; explain "The service $named on $server does not stay up: it is $status, with exit code $exit_code.$why $lines_said"; fi
        case $sick in
          unhealthy)
            if [ "$(seconds_up)" -lt "${ill_until:-0}" ]; then starting="$starting $named"; waited=$id; continue; fi
            last_lines "$id" "$named"
            said=$(health_said "$id")
            explain "The service $named on $server is not healthy, by its own health check: $(sentence "${said:-it says nothing}")${ill_until:+ Its time to become healthy is over.} $lines_said" ;;
          starting) starting="$starting $named"; waited=$id ;;
        esac
      done <<end
$states
end
      [ -n "$found" ] || explain "The service $named does not run on $server: there is no container of it in the project $project."
    done
    [ -n "$starting" ] || return 0
    if [ -z "$told" ] && [ -n "$waited" ]; then told=1; echo "Waiting for the health checks of:$starting"; fi
    if [ "$(seconds_up)" -ge "$until_when" ]; then
      if [ -n "$waited" ]; then last_lines "$waited" "${starting##* }"; fi
      explain "Not healthy on $server after ${option_wait_seconds:-@HEALTH@} s, by their own health checks:$starting"
    fi
    sleep 0.5
  done
}
# note_restarts FILE: how often each container of the base has restarted until now.
note_restarts() {
  : >"$1"
  for id in $(containers_of "$base"); do docker inspect --format '{{.ID}} {{.RestartCount}}' "$id" >>"$1" 2>/dev/null || :; done
}
# state_now ID: its service, state, exit code, health.
state_now() { docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$1"; }
# compose_up -p PROJECT -f FILE up|create ARGUMENT… SERVICE…: what waits for one of the services that its health check calls
# ill, as in a slow start, is tried again until ill_until; what has run to its end is not run again for that.
compose_up() {
  told=''
  while ! compose "$@" >"$run/up"; do
    if ! grep -q 'is unhealthy' "$run/up" || [ "$(seconds_up)" -ge "${ill_until:-0}" ]; then compose_failed "$2"; fi
    [ -n "$told" ] || echo "Waiting for a service that others wait for: $(grep 'is unhealthy' "$run/up" | tail -n 1)"
    told=1 ended=' '
    for id in $(containers_of "$2"); do
      state=$(state_now "$id") || continue
      case $state in *' exited 0 '*) ended="$ended${state%% *} " ;; esac
    done
    for each in "$@"; do
      shift
      case "$ended" in *" $each "*) ;; *) set -- "$@" "$each" ;; esac
      if [ "$each" = up ]; then set -- "$@" --no-deps; fi
    done
    sleep 1
  done
  grep -v 'Found orphan containers' "$run/up" || :  # what the file has no more is removed after the switch
}
# compose_failed PROJECT: tells why, with the last lines of what does not run well.
compose_failed() {
  cat "$run/up"
  reason=$(grep -iE 'error|fail|unhealthy|didn.t complete|conflict|allocated|no such|denied' "$run/up" | tail -n 1 | cut -c 1-400)
  for id in $(containers_of "$1"); do
    state=$(state_now "$id") || continue
    case ${state#* } in 'running 0 healthy'|'running 0 '|'exited 0 '*|created*) continue ;; esac
    last_lines "$id" "${state%% *}"
    case $state in *' unhealthy') reason="$(sentence "${reason:-${state%% *} is not healthy}") The health check of ${state%% *}: $(health_said "$id")" ;; esac
  done
  explain "Docker Compose could not start the services on $server: ${reason:-$(tail -n 1 "$run/up" | cut -c 1-400)}"
}
has_volume() { docker volume inspect "$1" >/dev/null 2>&1; }
# no_volume_lost: every volume of the release that once held data is there.
no_volume_lost() {
  [ -s "$root/.devflow/compose.volumes" ] || return 0
  volumes_of >"$run/now"
  while read -r key name _; do
    ! grep -q "^[^ ]* $name " "$root/.devflow/compose.volumes" || has_volume "$name" || explain "The volume $name, which held data of this environment, is not on $server any more. Nothing was changed. Bring it back from a backup; to begin with an empty one: docker volume create $name"
  done <"$run/now"
}
# record_volumes: those of the release, and those of before as gone, so that they are known when they come again.
record_volumes() {
  volumes_of >"$run/now"
  {
    cat "$run/now"
    if [ -s "$root/.devflow/compose.volumes" ]; then
      while read -r key name driver _; do grep -q "^$key $name " "$run/now" || echo "$key $name $driver gone"; done <"$root/.devflow/compose.volumes"
    fi
  } >"$root/.devflow/compose.volumes.new"
  mv "$root/.devflow/compose.volumes.new" "$root/.devflow/compose.volumes"
}
# make_volumes: those that only services of a colour use; Compose makes the others with the base project.
make_volumes() {
  no_volume_lost
  jq -r '.volumes // {} | to_entries[] | select(.value.external | not)
    | "docker volume inspect \(.value.name | @sh) >/dev/null 2>&1 || docker volume create --label \("com.docker.compose.volume=" + .key | @sh) --label \("com.docker.compose.project=" + $project | @sh) --label \("devflow.environment=" + $environment | @sh)\(if (.value.driver // "") != "" then " --driver \(.value.driver | @sh)" else "" end)\([.value.driver_opts // {} | to_entries[] | " --opt \(.key + "=" + .value | @sh)"] | join("")) \(.value.name | @sh)"' \
    --arg project "$base" --arg environment "$environment" "$home/resolved.json" >"$run/volumes"
  sh -e "$run/volumes" >/dev/null
  record_volumes
}
volumes_of() { jq -r '.volumes // {} | to_entries[] | select(.value.external | not) | "\(.key) \(.value.name) \(.value.driver // "" | if . == "" then "local" else . end)"' "$home/resolved.json"; }
# base_up RELEASE early|all: what is left alone runs; what is recreated is as that release has it (or what others wait for).
base_up() {
  compose_of "$1"
  base_file "$1"
  left=$(treated left) which=$(treated early) orphans=''
  if [ "$2" = all ]; then which=$(treated recreated) orphans=--remove-orphans; fi
  ln -sfn "../releases/$1" "$base_link.next.$deployment"
  mv -T "$base_link.next.$deployment" "$base_link"
  make_volumes
  set -f
  move_to_base $left $which
  if [ -z "$(base_names | tr -d ' ')" ]; then
    if [ "$2" = all ]; then containers_of "$base" | xargs -r docker rm --force >/dev/null; fi
    set +f
    return 0
  fi
  note_restarts "$run/restarts"
  ill_until=$(($(seconds_up) + ${strategy_start_seconds:-60}))
  compose_up -p "$base" -f base.json create --no-recreate --pull missing
  if [ -n "$left" ]; then
    compose_up -p "$base" -f base.json up --detach --no-recreate --no-deps $orphans $left
    look_at "$base" "$run/restarts" '' $left
  fi
  if [ -n "$which" ]; then
    compose_up -p "$base" -f base.json up --detach --no-deps $orphans $which
    look_at "$base" "$run/restarts" '' $which
  fi
  ill_until=''
  set +f
}
base_release() { link=$(readlink "$base_link" 2>/dev/null) || link=''; echo "${link##*/}"; }
# follow_live: after taking back, the base project is again as the release that serves has it.
follow_live() {
  was=$(base_release) serving=''
  [ -n "$was" ] || return 0
  if [ -s "$root/.devflow/live" ]; then read -r _ serving <"$root/.devflow/live"; fi
  if [ -n "$serving" ] && [ "$serving" != "$was" ] && [ -s "$root/.devflow/compose/$serving/resolved.json" ]; then
    echo "The services beside the colours are again those of $serving"
    base_up "$serving" all
    move_back
  elif [ -z "$serving" ] && [ "$was" = "$release" ]; then
    containers_of "$base" | xargs -r docker rm --force >/dev/null
    docker network ls -q --filter "label=com.docker.compose.project=$base" | xargs -r docker network rm >/dev/null 2>&1 || :
    rm -f "$base_link"
  fi
}
""".replace("@LINES@", str(LOG_LINES))
    .replace("@HEALTH@", str(HEALTH_SECONDS))
    .replace("@SENTENCE@", containers.SENTENCE)
    .replace("@CHECK@", images.CHECK_DOCKER)
)

_ARGUMENTS = r"""
set -f
set --
if [ -z "$option_files" ]; then
  for shown in compose.yaml compose.yml docker-compose.yml docker-compose.yaml; do if [ -f "$shown" ]; then break; fi; done
  [ -f "$shown" ] || explain "The commit has no compose.yaml (nor compose.yml, docker-compose.yml). Name the file in the settings of the environment (option files)."
else
  shown=$option_files
  for file in $option_files; do
    [ -f "$file" ] || explain "The commit has no file $file (option files)."
    set -- "$@" --file "$file"
  done
fi
for profile in $option_profiles; do set -- "$@" --profile "$profile"; done
if [ -e .env ]; then set -- --env-file .env "$@"; fi
set +f
"""

RESOLVE = (
    images.FUNCTIONS
    + FUNCTIONS
    + r"""
compose_of "$release"
umask 077
mkdir -p "$root/.devflow/compose"
for folder in "$root"/.devflow/compose/*/; do  # of deployments that were taken back
  folder=${folder%/}
  if [ ! -d "$root/releases/${folder##*/}" ]; then rm -rf "$folder"; fi
done
rm -rf "$home"
mkdir "$home"
cd "$path"
"""
    + _ARGUMENTS
    + r"""
if ! with_variables docker compose --project-name "$base" "$@" config --format json >"$home/config.json" 2>"$run/compose"; then
  cat "$run/compose"
  explain "docker compose config on $server, $shown: $(grep -v 'variable is not set' "$run/compose" | tail -n 1 | cut -c 1-500)"
fi
cat "$run/compose"
with_variables jq --arg names "$variable_names" --arg into "$compose_into" "$compose_inject" "$home/config.json" >"$home/resolved.json"
rm "$home/config.json"
found=$(jq -r '.services // {} | keys | join(" ")' "$home/resolved.json")
[ "$found" = "$compose_services" ] || explain "The Compose file of this commit has the services '$found' on $server, and had '$compose_services' when the plan was made. Deploy again; where servers differ, look into their COMPOSE_ variables."
cat >"$home/treatment" <<end
replaced $compose_replaced
left $compose_left
recreated $compose_recreated
early $compose_early
once $compose_once
data $compose_data
accepted $compose_accepted
declared $compose_declared
proxied $compose_proxied
inside $compose_inside
in_place $compose_in_place
end
if [ -s "$root/.devflow/compose.volumes" ]; then recorded=$root/.devflow/compose.volumes; else recorded=/dev/null; fi
volumes_of >"$run/new"
how_to_keep() { echo "To keep what is in it, give the volume $2 in the Compose file the line 'name: $1' (or 'external: true' with it). To move it on $server: docker volume create $3 && docker run --rm -v $1:/from -v $3:/to busybox cp -a /from/. /to/. To begin with an empty volume: docker volume create $3"; }
no_volume_lost
while read -r key name driver gone; do
  now=$(sed -n "s/^$key //p" "$run/new")
  if [ "${now%% *}" = "$name" ]; then
    [ "${now#* }" = "$driver" ] || explain "The volume $key ($name) would change its driver from $driver to ${now#* }, and be an empty one. Nothing was changed. Take the driver $driver again, or give the new volume another name."
  elif [ -z "$gone" ] && has_volume "$name"; then
    if [ -n "$now" ]; then
      has_volume "${now%% *}" || explain "The volume $key would be ${now%% *}, a new and empty one, in place of $name. Nothing was changed. $(how_to_keep "$name" "$key" "${now%% *}")"
    else
      while read -r other new_name _; do
        grep -q "^$other " "$recorded" || has_volume "$new_name" || explain "The volume $key ($name) is not in the Compose file any more, and $other ($new_name) would be a new and empty one: was it renamed? Nothing was changed. $(how_to_keep "$name" "$other" "$new_name")"
      done <"$run/new"
    fi
  fi
done <"$recorded"
named=$(sed -n 's/^name:[[:space:]]*["'\'']\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p' $shown 2>/dev/null | head -n 1)
folder=${repository##*/}
for project in $named "${folder%.git}"; do
  [ "$project" != "$base" ] || continue
  while read -r key name _; do
    ! grep -q "^$key " "$recorded" && ! has_volume "$name" || continue
    old=$(docker volume ls -q --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.volume=$key" | head -n 1)
    [ -z "$old" ] || explain "The volume $key would be $name, a new and empty one, and $server has $old of the Compose project $project. Nothing was changed. $(how_to_keep "$old" "$key" "$name")"
  done <"$run/new"
done
echo "Services: $found"
"""
)
"""Resolves the Compose file of the release, and refuses what would lose data. Changes nothing that runs."""

IMAGES = (
    images.FUNCTIONS
    + FUNCTIONS
    + r"""
compose_of "$release"
[ ! -s "$run/commit" ] || read -r commit <"$run/commit"
short=$(printf '%.12s' "$commit")
wanted="$(treated replaced) $(treated recreated)"
for each in $(treated left); do
  [ -n "$(docker ps -aq --filter "label=com.docker.compose.project=$base" --filter "label=com.docker.compose.service=$each")" ] || wanted="$wanted $each"
done
umask 077
jq --arg environment "$environment" --arg short "$short" '.services |= with_entries(if .value.build then .value.image = "devflow-\($environment)-\(.key | ascii_downcase):\($short)" else . end)' "$home/resolved.json" >"$home/build.json"
has() { jq -e --arg name "$1" ".services[\$name].$2 // \"\" | . != \"\"" "$home/build.json" >/dev/null; }
built=''
for each in $wanted; do if has "$each" build; then built="$built $each"; fi; done
if [ -n "$built" ]; then
  exec 7<"$(command -v docker)"
  if ! flock -n 7; then echo "Waiting for another build on $server to end."; flock 7; fi
  echo "Building$built"
  fresh=''; if [ "${clean:-0}" = 1 ]; then fresh=--no-cache; fi
  {
    code=0
    compose -p "$base" -f build.json build $fresh $built || code=$?
    echo "$code" >"$run/built"
  } | tee "$run/build"
  exec 7<&-
  read -r code <"$run/built"
  if [ "$code" != 0 ]; then
    if full=$(grep -i 'no space left on device' "$run/build"); then
      explain "The disk of $server is full: $(printf '%s\n' "$full" | tail -n 1 | cut -c 1-300). Free some space there (docker system df shows what is used), and deploy again."
    fi
    reason=$(last_error "$run/build")
    said=$(grep -v '^[[:space:]]*$' "$run/build" | tail -n 4 | cut -c 1-200 | tr '\n' '/' | sed 's,/$,,; s,/, / ,g')
    explain "The images of$built could not be built on $server: ${reason:-it ended with exit code $code}. The last lines: ${said:-there are none}"
  fi
fi
# check_declared SERVICE IMAGE: the plan knew of the volumes that the image has of its own.
check_declared() {
  case " $(treated replaced) " in *" $1 "*) ;; *) return 0 ;; esac
  case " $(treated accepted) " in *" $1 "*) return 0 ;; esac
  docker image inspect --format '{{range $place, $none := .Config.Volumes}}{{println $place}}{{end}}' "$2" >"$run/declared"
  while read -r place; do
    case " $(treated declared) " in *" $1:$place "*) continue ;; esac
    if [ -z "$place" ] || jq -e --arg name "$1" --arg place "${place%/}" '.services[$name] | (.build != null) as $built
      | ([.volumes[]? | select($built or .read_only) | .target], [.tmpfs // [] | if type == "string" then [.] else . end | .[] | split(":")[0]])
      | flatten | map(rtrimstr("/")) | index($place) | select(. != null)' "$home/build.json" >/dev/null; then continue; fi
    explain "The image of the service $1 has a volume of its own, $place, which was not known when the plan was made, since the image was not on $server. Nothing was changed. Deploy again: the plan then leaves the service alone or says what to do. Where nothing in it is to be kept, name $1 in the option replace."
  done <"$run/declared"
}
: >"$home/images.new"
for each in $wanted; do
  image=$(jq -r --arg name "$each" '.services[$name].image // ""' "$home/build.json")
  policy=${option_pull:-$(jq -r --arg name "$each" '.services[$name].pull_policy // ""' "$home/build.json")}
  if ! has "$each" build; then
    if [ "$policy" = always ] || { [ "$policy" != never ] && ! image_of "$image" >/dev/null; }; then
      echo "Pulling $image"
      docker pull --quiet "$image" >"$run/pull" 2>&1 || { cat "$run/pull"; explain "$server could not pull $image for the service $each: $(tail -n 1 "$run/pull" | cut -c 1-300)"; }
    fi
  fi
  id=$(image_of "$image") || explain "The image $image of the service $each is not on $server$(if [ "$policy" = never ]; then echo ', and the pull policy is never'; fi)."
  check_declared "$each" "$id"
  name=$(printf '%s' "$each" | tr 'A-Z' 'a-z')
  docker tag "$id" "devflow-$environment-$name:$release"
  printf '%s %s\n' "$each" "$id" >>"$home/images.new"
done
mv "$home/images.new" "$home/images"
rm "$home/build.json"
cat "$home/images"
"""
)
"""Builds and pulls what the release needs, before anything is switched, and pins it by image id."""

START = (
    images.CHECK_DOCKER
    + FUNCTIONS
    + r"""
compose_of "$release"
[ -s "$home/resolved.json" ] || explain "The release $release cannot be started again on $server: its Compose configuration is gone. Deploy its commit."
( umask 077; printf '%s\n' "$port" >"$home/port" )
if [ "$(treated in_place)" = 1 ]; then
  base_up "$release" all
else
  serving=''
  if [ -s "$root/.devflow/live" ]; then read -r _ serving <"$root/.devflow/live"; fi
  kept_data=$(sed -n 's/^data //p' "$root/.devflow/compose/$(base_release)/treatment" 2>/dev/null) || kept_data=''
  if [ "$serving" = "$release" ]; then base_up "$release" all; else base_up "$release" early; fi
  for id in $(containers_of "$base-$colour"); do
    [ "$(docker inspect --format '{{index .Config.Labels "devflow.release"}}' "$id")" = "$release" ] || docker rm --force "$id" >/dev/null
  done
  colour_file
  move_from_base "$kept_data"
  ill_until=$(($(seconds_up) + ${strategy_start_seconds:-60}))
  set --
  for each in $(treated replaced); do set -- "$@" "$each-$colour"; done
  compose_up -p "$base-$colour" -f "$colour.json" up --detach --remove-orphans "$@"
fi
"""
)

LOOK = (
    FUNCTIONS
    + r"""
compose_of "$release"
if [ "$(treated in_place)" = 1 ]; then
  [ "$(base_release)" = "$release" ] || explain "The services on $server are those of another release."
  [ -f "$run/restarts" ] || note_restarts "$run/restarts"
  look_at "$base" "$run/restarts" '' $(base_names)
else
  set --
  for each in $(treated replaced); do set -- "$@" "$each-$colour"; done
  look_at "$base-$colour" /dev/null "$release" "$@"
fi
"""
)

STOP = (
    FUNCTIONS
    + r"""
for id in $(containers_of "$base-$colour"); do docker update --restart no "$id" >/dev/null; done
containers_of "$base-$colour" | xargs -r docker stop --time "${drain_seconds:-10}" >/dev/null
"""
)

REMOVE = (
    images.CHECK_DOCKER
    + FUNCTIONS
    + r"""
containers_of "$base-$colour" | xargs -r docker stop --time "${drain_seconds:-10}" >/dev/null 2>&1 || :
containers_of "$base-$colour" | xargs -r docker rm --force >/dev/null  # not --volumes: those without a name may hold data
docker network ls -q --filter "label=com.docker.compose.project=$base-$colour" | xargs -r docker network rm >/dev/null 2>&1 || :
follow_live
"""
)

KEEPS = (
    FUNCTIONS
    + _HOST_PORTS
    + r"""
compose_of "$release"
[ -s "$home/resolved.json" ] && [ -f "$home/images" ] || explain "The release $release cannot be started again on $server: its Compose configuration is gone. Deploy its commit."
if ! cut -d ' ' -f 2 "$home/images" | xargs -r docker image inspect >/dev/null 2>&1; then while read -r each id; do
  docker image inspect "$id" >/dev/null 2>&1 || explain "The image of the service $each of the release $release is not on $server any more. Deploy its commit."
done <"$home/images"; fi
no_volume_lost
published=$(jq -r --arg names "$(base_names)" --arg proxied "$(treated proxied)" '($names | split(" ")) as $names
  | .services // {} | to_entries[] | .key as $name | select($name != $proxied and ($names | index($name))) | .value.ports[]?
  | select(.published) | "\($name)=\(if .host_ip then .host_ip + ":" else "" end)\(.published)/\(.protocol // "tcp")" | rtrimstr("/tcp")' "$home/resolved.json")
set -f
check_host_ports $published
set +f
"""
)

PRUNE = (
    FUNCTIONS
    + r"""
rm -f "$root/.devflow/compose.moved"
for folder in "$root"/.devflow/compose/*/; do
  folder=${folder%/}
  if [ ! -d "$root/releases/${folder##*/}" ]; then rm -rf "$folder"; fi
done
kept=" $(cat "$root"/.devflow/compose/*/images 2>/dev/null | cut -d ' ' -f 2 | tr '\n' ' ')"
docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' --filter "reference=devflow-$environment-*" | while read -r id name; do
  case $kept in *" $id "*)
    tag=${name##*:}
    case $tag in *-*-*) [ ! -d "$root/.devflow/compose/$tag" ] || continue ;; *) continue ;; esac ;;
  esac
  if docker image rm "$name" >/dev/null 2>&1; then echo "Removed the image $name"; fi
done
"""
)

ENABLE = (
    FUNCTIONS
    + r"""
for id in $(containers_of "$base-$colour"); do
  docker update --restart "$(docker inspect --format '{{index .Config.Labels "devflow.restart"}}' "$id")" "$id" >/dev/null
done
"""
)

DISABLE = (
    FUNCTIONS
    + r"""
for id in $(containers_of "$base-$colour"); do docker update --restart no "$id" >/dev/null; done
follow_live
"""
)

RECREATE = (
    'if [ -n "${environment:-}" ]; then\n'
    + images.CHECK_DOCKER
    + FUNCTIONS
    + r"""
compose_of "$release"
if [ "$(treated in_place)" != 1 ]; then base_up "$release" all; fi
else echo 'The services beside the colours stay as they are: the panel takes them back.'
fi
"""
)
"""After the switch: the services beside the colours, as this release has them."""

_LOOK_INTO = r"""
set -e
umask 077
explain() { printf '%s\n' "$*" >&2; exit 3; }
command -v docker >/dev/null || explain "Docker is not installed on $server. Install it there: apt-get install docker.io"
docker compose version >/dev/null 2>&1 || explain "Docker Compose (version 2) is not installed on $server. Install it there: apt-get install docker-compose (Debian 13), docker-compose-v2 (Ubuntu) or docker-compose-plugin (download.docker.com)"
mirror=$HOME/.devflow/repos/$mirror.git
folder=$(mktemp -d "$HOME/.devflow/compose.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/files"
git -c 'safe.directory=*' --git-dir="$mirror" archive "$commit" | tar -x -C "$folder/files"
cd "$folder/files"
if [ -n "$variable_names" ]; then rm -f .env; dotenv >.env
elif [ -e "$root/shared/.env" ]; then rm -f .env; cp "$root/shared/.env" .env
fi
"""
_LOOK_INTO_END = r"""
if ! with_variables docker compose --project-name "devflow-$environment" "$@" config --format json >"$folder/config" 2>"$folder/said"; then
  explain "$shown: $(cat "$folder/said")"
fi
before=$(readlink "$root/.devflow/base" 2>/dev/null) || before=''
before=${before##*/}
part() { printf '@MARK@'; }
pwd; part
cat "$folder/config"; part
cat "$folder/said"; part
echo "$root/releases/$before"; part
if [ -n "$before" ]; then cat "$root/.devflow/compose/$before/resolved.json" 2>/dev/null || :; fi
part
if command -v jq >/dev/null; then
  short=$(printf '%.12s' "$commit")
  jq -r '.services // {} | to_entries[] | "\(.key) \(if .value.build then "" else .value.image // "" end)"' "$folder/config" | while read -r each image; do
    if [ -z "$image" ]; then
      image=devflow-$environment-$(printf '%s' "$each" | tr 'A-Z' 'a-z'):$short
      docker image inspect "$image" >/dev/null 2>&1 || image=$(sed -n "s/^$each //p" "$root/.devflow/compose/$before/images" 2>/dev/null) || :
    fi
    docker image inspect --format '{{range $place, $none := .Config.Volumes}}{{println $place}}{{end}}' "$image" 2>/dev/null | sed -n "s,^/,$each /,p" || :
  done
fi
part
""".replace("@MARK@", MARK)


def look_into(values: Mapping[str, str], *, variables: Mapping[str, str], env: str) -> str:
    """A script that resolves the Compose file of a commit in a checkout of its own, and prints its folder, what Compose
    made of it and said, folder and configuration of the release before, and lines `<service> <path>` of the volumes that
    images have of their own, each ended by `MARK`.

    It carries secrets and prints them: to be sent on standard input and read over the connection, kept nowhere. `values`
    are its variables, `env` is the text of the `.env` file.
    """
    head = "".join(f"{name}={quote(value)}\n" for name, value in values.items())
    exports = "".join(f"  export {name}={quote(value)}\n" for name, value in variables.items())
    return (
        f"{head}variable_names={quote(' '.join(variables))}\n"
        f"dotenv() {{ printf %s {quote(env)}; }}\nuser_env() {{\n  :\n{exports}}}\n"
        f"{images.FUNCTIONS}{_LOOK_INTO}{_ARGUMENTS}{_LOOK_INTO_END}"
    )


def head(
    lists: Mapping[str, str],
    *,
    services: Iterable[str],
    into: Iterable[str],
    in_place: bool,
    declared: Iterable[tuple[str, str]] = (),
    ports: Iterable[tuple[str, str]] = (),
) -> str:
    """Shell variables that `RESOLVE` and `CHECK` read: the plan's treatment of the services, what volumes it knew of that
    images have of their own, and what ports of the server are published beside the colours, by service."""
    values = {
        "services": " ".join(sorted(services)),
        "into": " ".join(into),
        "declared": " ".join(f"{name}:{place}" for name, place in declared),
        "ports": " ".join(f"{name}={port}" for name, port in ports),
        "in_place": "1" if in_place else "",
        **{name: text for name, text in lists.items() if name != "proxied_port"},
        "inside": lists.get("proxied_port", ""),
    }
    return "".join(f"compose_{name}={quote(value)}\n" for name, value in values.items())
