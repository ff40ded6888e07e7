"""A release of a site as a container under a colour: `devflow-<environment>-<colour>`, on a port of 127.0.0.1.

The pieces of a runtime (engine/task.py), over the options of recipes/dockerfile.py and what commands/images.py left in the
release's folder. Volumes without a name, which Docker makes where an image declares VOLUME, are of one container: they go
when it does for good, and a release that may be gone back to keeps its container. What recreate stops is set aside as
`devflow-<environment>-<colour>-<release>` until the deployment has ended.
"""

from __future__ import annotations

from devflow.commands import images

LOG_LINES = 40
"""So many of the last lines of a container that failed are shown."""

_NAMES = """\
container=devflow-$environment-$colour
state_of() { docker container inspect --format "$1" "$container" 2>/dev/null; }
release_there() { state_of '{{index .Config.Labels "devflow.release"}}' || :; }
port_there() { state_of '{{range .HostConfig.PortBindings}}{{range .}}{{.HostPort}}{{end}}{{end}}' || :; }
# last_lines: prints them, and sets lines_said to where they are found.
last_lines() {
  lines_said=$(docker logs --tail @LINES@ "$container" 2>&1) || :
  if [ -z "$lines_said" ]; then echo "$container printed nothing"; lines_said='It printed nothing.'; return 0; fi
  echo "The last lines of $container:"
  printf '%s\\n' "$lines_said" | sed 's/^/  | /'
  lines_said='Its last lines are above.'
}
""".replace("@LINES@", str(LOG_LINES))

SENTENCE = """\
sentence() { case $1 in *[.!?]) printf %s "$1" ;; *) printf %s. "$1" ;; esac; }
"""
"""What something said, with a full stop."""

CHECK = (
    images.CHECK_DOCKER
    + """\
[ "$blue_port" -gt 0 ] || explain "This environment has no ports of its own. Choose a port in its settings."
recorded=$root/.devflow/volumes
for pair in $option_volumes; do
  volume=${pair%%:*}
  case $volume in ./*) continue ;; esac
  if whose=$(docker volume inspect --format '{{index .Labels "devflow.environment"}}' "$volume" 2>/dev/null); then
    case $whose in ''|'<no value>'|"$environment") ;; *) explain "The volume $volume on $server belongs to another environment ($whose). Give this one a name of its own." ;; esac
  elif [ -f "$recorded" ] && grep -qxF -e "$volume" "$recorded"; then
    explain "The volume $volume, which held this environment's data, is not on $server any more. Nothing was changed. Bring it back from a backup; to begin with an empty one, make it: docker volume create $volume"
  fi
done
kernel=$(docker info --format '{{.MemoryLimit}} {{.CPUCfsQuota}}' 2>/dev/null) || kernel=''
case "$option_memory $kernel" in [0-9]*' false '*) echo "The kernel of $server has no limit of memory for containers: it runs without." ;; esac
case "$option_cpus $kernel" in [0-9]*' false') echo "The kernel of $server has no limit of CPU for containers: it runs without." ;; esac
"""
)

KEEPS = f"""\
if ! read -r image _ <"$path/{images.IMAGE_FILE}" 2>/dev/null; then explain "The release $release has no image."; fi
docker image inspect "$image" >/dev/null 2>&1 || explain "The image of the release $release is not on $server any more. Deploy its commit again."
"""

_MOUNTS = """\
for pair in $option_volumes; do
  volume=${pair%%:*}; rest=${pair#*:}
  case $volume in
    ./*)
      folder=$root/shared/${volume#./}
      [ -d "$folder" ] || mkdir -p "$folder"
      set -- "$@" --volume "$folder:$rest" ;;
    *)
      if ! docker volume inspect "$volume" >/dev/null 2>&1; then
        if [ -f "$root/.devflow/volumes" ] && grep -qxF -e "$volume" "$root/.devflow/volumes"; then
          explain "The volume $volume, which held this environment's data, is not on $server any more. Bring it back from a backup; to begin with an empty one, make it: docker volume create $volume"
        fi
        docker volume create --label "devflow.environment=$environment" "$volume" >/dev/null
        echo "Made the volume $volume"
      fi
      grep -sqxF -e "$volume" "$root/.devflow/volumes" || printf '%s\\n' "$volume" >>"$root/.devflow/volumes"
      set -- "$@" --volume "$volume:$rest" ;;
  esac
done
"""

_UNNAMED = """\
lost=''
for folder in $(docker image inspect --format '{{range $path, $_ := .Config.Volumes}}{{println $path}}{{end}}' "$image"); do
  covered=''
  for pair in $option_volumes; do
    rest=${pair#*:}
    if [ "${rest%:ro}" = "${folder%/}" ]; then covered=1; fi
  done
  [ -n "$covered" ] || lost="$lost $folder"
done
if [ -n "$lost" ]; then
  echo "WARNING: the image declares VOLUME for$lost, and the option Volumes has nothing for it. What the application writes there is lost with each deployment. To keep it, give that path a volume in the settings of the environment, like shop-data:${lost##* }"
fi
"""
"""Tells which of the image's own volumes would be new and empty with each release."""

_PORT = """\
inside=$option_container_port
if [ -z "$inside" ]; then
  exposed=$(docker image inspect --format '{{range $port, $_ := .Config.ExposedPorts}}{{println $port}}{{end}}' "$image" | sed -n 's#^\\([0-9]*\\)\\(/tcp\\)*$#\\1#p')
  case $(printf '%s' "$exposed" | grep -c .) in
    1) inside=$exposed ;;
    0) explain "The image does not say on which port it listens. Set the container's port in the settings of the environment, or write EXPOSE into the Dockerfile." ;;
    *) explain "The image exposes several ports ($(echo $exposed)). Set the container's port in the settings of the environment." ;;
  esac
fi
"""

START = (
    _NAMES
    + f"""\
read -r image _ <"$path/{images.IMAGE_FILE}" || explain "The release $release has no image."
docker image inspect "$image" >/dev/null 2>&1 || explain "The image $image of the release $release is not on $server any more. Deploy its commit again."
was=$(release_there) made=''
if [ -n "$was" ] && [ "$was" = "${{old_release:-}}" ] && [ "$was" != "$release" ]; then
  docker rename "$container" "$container-$was"  # what recreate has stopped may have to be started again
elif [ "$was" != "$release" ] && docker container inspect "$container" >/dev/null 2>&1; then
  docker rm --force --volumes "$container" >/dev/null
fi
if [ "$was" != "$release" ] && docker container inspect "$container-$release" >/dev/null 2>&1; then
  docker rename "$container-$release" "$container"
  was=$release
fi
if [ "$was" = "$release" ] && [ "$(port_there)" != "$port" ]; then
  docker rm --force "$container" >/dev/null  # the environment's port was changed; volumes without a name stay on the disk
  was=''
fi
set -f
"""
    + _UNNAMED
    + """\
if [ "$was" != "$release" ]; then
"""
    + _PORT
    + """\
set -- --name "$container" --publish "127.0.0.1:$port:$inside" --restart no --log-driver json-file --log-opt max-size=10m --log-opt max-file=3
set -- "$@" --label "devflow.environment=$environment" --label "devflow.deployment=$deployment" --label "devflow.release=$release" --label "devflow.colour=$colour"
if [ -n "$option_memory" ]; then set -- "$@" --memory "$option_memory"; fi
if [ -n "$option_cpus" ]; then set -- "$@" --cpus "$option_cpus"; fi
"""
    + _MOUNTS
    + f"""\
files=$root/shared/.env.d/$release.files
if [ -d "$files" ]; then set -- "$@" --volume "$files:$files:ro"; fi
if [ -f "$path/{images.ENV_FILE}" ]; then
  grep -q '^PORT=' "$path/{images.ENV_FILE}" || set -- "$@" --env "PORT=$inside"
  set -- "$@" --env-file "$path/{images.ENV_FILE}"
  for name in $(sed -n 's/^export \\([A-Za-z_][A-Za-z0-9_]*\\)$/\\1/p' "$path/{images.MORE_FILE}"); do set -- "$@" --env "$name"; done
fi
set -- "$@" "$image"
if [ -n "$option_command" ]; then
  printf '%s\\n' "$option_command" | xargs -n 1 printf '%s\\n' >"$run/command" || explain "The command cannot be read: $option_command. Quotes must come in pairs."
  while IFS= read -r word; do set -- "$@" "$word"; done <"$run/command"
fi
( if [ -f "$path/{images.MORE_FILE}" ]; then . "$path/{images.MORE_FILE}"; fi; exec docker create "$@" ) >"$run/container" 2>&1 || {{
  cat "$run/container"
  explain "Docker could not make the container $container on $server: $(tail -n 1 "$run/container" | cut -c 1-400)"
}}
made=1
fi
if ! docker start "$container" >"$run/container" 2>&1; then
  cat "$run/container"
  reason=$(tail -n 1 "$run/container" | cut -c 1-400)
  if [ -n "$made" ]; then docker rm --force --volumes "$container" >/dev/null 2>&1 || :; fi
  case $reason in
    *"already allocated"*|*"already in use"*) explain "Port $port of $server, which is this environment's for its $colour colour, is taken by something else. Stop that, or choose another port in the settings of the environment." ;;
    *) explain "The container $container could not be started on $server: $reason" ;;
  esac
fi
echo "Started $container from $image on 127.0.0.1:$port"
"""
)

LOOK = (
    images.CHECK_DOCKER
    + _NAMES
    + SENTENCE
    + """\
most=${strategy_start_seconds:-60}; left=$most told=''
tell_waiting() { [ -n "$told" ] || { told=1; echo "Waiting for the container's own health check"; }; }
while :; do
  state=$(state_of '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{.State.OOMKilled}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}') || explain "The container $container is not on $server any more: something removed it."
  read -r status exit_code restarts is_oom health_now <<end
$state
end
  why=''
  if [ "$is_oom" = true ]; then why=' It ran out of memory: its limit is in the settings of the environment.'; fi
  if [ "$restarts" != 0 ]; then last_lines; explain "The container $container on $server ended and was started again, $restarts times.$why $lines_said"; fi
  if [ "$status" != running ]; then last_lines; explain "The container $container on $server does not stay up: it is $status, with exit code $exit_code.$why $lines_said"; fi
  case $health_now in
    unhealthy)
      read -r now _ </proc/uptime
      if [ "${now%%.*}" -lt "${ill_until:-0}" ]; then tell_waiting; sleep 1; continue; fi
      last_lines
      said=$(state_of '{{range .State.Health.Log}}{{println .ExitCode .Output}}{{end}}' | grep . | tail -n 1 | cut -c 1-300)
      explain "The container $container on $server is not healthy, by its own health check: $(sentence "${said:-it says nothing}")${ill_until:+ It had $most s for its start.} $lines_said" ;;
    starting)
      [ "$left" -gt 0 ] || { last_lines; explain "The container $container on $server has not become healthy in $most s, by its own health check. $lines_said"; }
      tell_waiting
      left=$((left - 1))
      sleep 1 ;;
    *) break ;;
  esac
done
"""
)

STOP = (
    _NAMES
    + """\
if docker container inspect "$container" >/dev/null 2>&1; then
  docker update --restart no "$container" >/dev/null
  docker stop --time "${drain_seconds:-10}" "$container" >/dev/null
fi
"""
)

REMOVE = (
    _NAMES
    + """\
if docker container inspect "$container" >/dev/null 2>&1; then
  docker stop --time "${drain_seconds:-10}" "$container" >/dev/null 2>&1 || :
  this="$colour $(release_there)"
  if [ "${next_colour:-} ${next_release:-}" = "$this" ] && [ "${spare_colour:-} ${spare_release:-}" = "$this" ]; then
    docker update --restart no "$container" >/dev/null
    echo "$container was on standby: it is kept with its data"
  else
    docker rm --force --volumes "$container" >/dev/null
  fi
fi
"""
)
"""One that was on standby and is gone back to (read_traffic of commands/colours.py tells) is only stopped."""

PRUNE = (
    """\
docker ps -a --format '{{.Names}}' --filter "label=devflow.environment=$environment" | while read -r name; do
  case $name in "devflow-$environment-blue-"*|"devflow-$environment-green-"*) ;; *) continue ;; esac
  ! docker rm --volumes "$name" >/dev/null 2>&1 || echo "Removed the container $name"
done
"""
    + images.PRUNE
)
"""Removes what was set aside (never what runs), and images that no kept release has."""

WORDS = _NAMES + "last_lines\n"

ENABLE = (
    _NAMES
    + """\
docker update --restart "$option_restart" "$container" >/dev/null
"""
)

DISABLE = (
    _NAMES
    + """\
if docker container inspect "$container" >/dev/null 2>&1; then docker update --restart no "$container" >/dev/null; fi
"""
)
