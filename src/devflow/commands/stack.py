"""A Compose file as a stack of a Docker Swarm: made by jq of what the recipe has resolved, deployed on a manager, and
judged by what the swarm tells of updates and tasks, never by how a command ends.

In `<root>/.devflow/compose/<release>` (commands/compose.py), which only the login user can read:

- `stack.images`: lines `<service> <image>`; the images are on every server of the environment under that name;
- `stack.json`: the whole specification, which going back deploys again.

Each service has the labels `devflow.environment`, `devflow.release` and `devflow.replicas` (what the Compose file asks
for), each task `devflow.spec`: a task of the new specification is known by it.
"""

from __future__ import annotations

from devflow.commands import compose
from devflow.core.shell import quote

STEADY_SECONDS = 5
"""How long nothing may change any more before it counts as converged."""
SURPLUS_SECONDS = 8
MOST_FAILURES = 3
"""So many tasks of a new service may end before it is given up; of an update the swarm itself decides."""
UNDO_SECONDS = 180

_STACK = r"""
def number: if type == "string" and test("^[0-9]+$") then tonumber else . end;
def is_of_system: . == $path or startswith($path + "/") or test("^(/var)?/run/|^/(dev|sys|proc)/|^/etc/(localtime|timezone)$");
{services, networks, volumes, configs, secrets} | with_entries(select(.value != null))
| .services |= with_entries(
    .key as $name
    | .value |= (
        (.mem_limit // null) as $memory | (.cpus // null) as $cpus | (.scale // null) as $scale
        | (((.labels // {})["devflow.replace"] // "") | tostring | ascii_downcase) as $said
        | ($said == "false" or ($said != "true" and ([.volumes[]? | select(.read_only != true)
            | select(.type == "volume" or (.type == "bind" and (.source | is_of_system | not)))] | length > 0))) as $keeps
        | del(.build, .depends_on, .container_name, .restart, .profiles, .pull_policy, .platform, .develop, .attach,
              .scale, .mem_limit, .cpus, .links)
        | with_entries(select(.value != null))
        | .image = $images[$name]
        | .labels = ((.labels // {}) + {"devflow.environment": $environment})
        | if $memory then .deploy.resources.limits.memory //= $memory else . end
        | if $cpus then .deploy.resources.limits.cpus //= $cpus else . end
        | if $scale then .deploy.replicas //= $scale else . end
        | if .deploy.resources.limits.cpus? then .deploy.resources.limits.cpus |= tostring else . end
        | if .deploy.resources.reservations.cpus? then .deploy.resources.reservations.cpus |= tostring else . end
        | if .ports then .ports |= map({mode, target, published, protocol} | with_entries(select(.value != null))
            | if .published then .published |= number else . end) else . end
        | if .volumes then .volumes |= map(del(.bind.create_host_path) | if .bind == {} then del(.bind) else . end) else . end
        | (.deploy.replicas // 1) as $replicas
        | (if $keeps then "stop-first" else "start-first" end) as $order
        | .deploy.update_config = ({parallelism: 1, order: $order, failure_action: "rollback", monitor: ($monitor + "s")}
            + (.deploy.update_config // {}))
        | .deploy.rollback_config //= {parallelism: 1, order: .deploy.update_config.order}
        | .deploy.labels = ((.deploy.labels // {}) + {"devflow.environment": $environment, "devflow.replicas": ($replicas | tostring)})
      ))
| .networks |= ((. // {}) | map_values(if . == null then {} else . end | if .driver == "bridge" then del(.driver) else . end
    | if .ipam == {} then del(.ipam) else . end))
| {version: "3.8"} + .
"""
"""Of jq: what `docker stack deploy` takes. What keeps data is not started beside itself, unless the file says so."""

_SCALED = r"""
.services |= with_entries(
  ($scaled[.key] // null) as $now
  | .value.deploy.labels["devflow.release"] = $release
  | if $now and .value.deploy.labels["devflow.replicas"] == $now[0] then .value.deploy.replicas = ($now[1] | tonumber) else . end
  | if ([.value.ports[]? | select(.mode == "host")] | length > 0) and (.value.deploy.replicas // 1) >= ($nodes | tonumber)
    then .value.deploy.update_config.order = "stop-first" | .value.deploy.rollback_config.order = "stop-first" else . end)
"""
"""Of jq: a service that was scaled by hand keeps its number, until the Compose file's own is another. What has a port of
the host can start beside itself only where a node is left for it."""

_JUDGE = r"""
# in: what is wanted "w <name> <spec>", services "s <name> <id> <update> <spec> <running/wanted>", tasks "t <service id> <desired> <state> <spec> <error>"
$1 == "w" { want[$2] = $3; next }
$1 == "s" { if ($2 in want) new[$3] = want[$2]; names[++count] = $2; id[count] = $3; update[count] = $4; spec[$3] = $5; split($6, parts, "/"); wanted[$3] = parts[2]; next }
$1 == "t" {
  error = ""; for (i = 6; i <= NF; i++) error = error (i > 6 ? " " : "") $i
  if ($3 == "running" || $3 == "ready") {
    under_way[$2]++
    if ($4 == "running" && $5 == spec[$2]) running[$2]++
    if ($4 == "pending" && error != "") waits[$2] = error
  }
  if ($5 == spec[$2] && ($4 == "failed" || $4 == "rejected")) failed[$2]++
  if (error != "" && (!($2 in why) || ($5 == new[$2] && !($2 in sure)))) { why[$2] = error; if ($5 == new[$2]) sure[$2] = 1 }
}
END {
  for (n = 1; n <= count; n++) {
    it = id[n]
    if (update[n] ~ /^(paused|rollback_)/) { print "bad " names[n] " " (update[n] == "paused" ? "the update was stopped" : "the swarm rolled the update back") ": " why[it] }
    else if (failed[it] >= most && update[n] != "updating") { print "bad " names[n] " its tasks end again and again: " why[it] }
    else if (new[it] != "" && new[it] != spec[it]) print "wait " names[n] " is not of this release yet"
    else if ((update[n] == "-" || update[n] == "completed") && running[it] + 0 > wanted[it]) print "wait " names[n] " " running[it] " of " wanted[it] " run\nsurplus " names[n]
    else if ((update[n] != "-" && update[n] != "completed") || running[it] + 0 != wanted[it] || under_way[it] + 0 != wanted[it])
      print "wait " names[n] " " running[it] + 0 " of " wanted[it] " run" (it in waits ? " (" waits[it] ")" : "")
  }
}
"""
"""Of awk: a line `bad <service> <why>` or `wait <service> <how far>` for each service that is not as it is to be, and
`surplus <service>` where more run than are wanted."""

FUNCTIONS = (
    f"stack_program={quote(_STACK)}\nscaled_program={quote(_SCALED)}\njudge_program={quote(_JUDGE)}\n"
    + r"""
stack=${strategy_stack:-$(printf %s "$site" | tr ' ' -)}
home_of() { home=$root/.devflow/compose/$1; }
short_name() { printf '%s' "$1" | tr 'A-Z' 'a-z'; }
ready_nodes() { docker node ls --format '{{.Status}} {{.Availability}}' | grep -c '^Ready Active'; }
services_of_stack() { docker service ls --filter "label=com.docker.stack.namespace=$stack" --format '{{.Name}}'; }
# scaled_now: {"web": ["<what its file asked for>", "<what it was set to>"]} of the services that were scaled by hand.
scaled_now() {
  for each in $(services_of_stack); do
    docker service inspect --format '{{.Spec.Name}} {{index .Spec.Labels "devflow.replicas"}} {{if .Spec.Mode.Replicated}}{{.Spec.Mode.Replicated.Replicas}}{{end}}' "$each" 2>/dev/null || :
  done | jq -Rn --arg stack "$stack" '[inputs | split(" ") | select(.[2] != "" and .[1] != "" and .[1] != .[2]) | {key: (.[0] | ltrimstr($stack + "_")), value: [.[1], .[2]]}] | from_entries'
}
stack_deploy() {  # RELEASE: gives the swarm the specification of that release
  home_of "$1"
  nodes=$(ready_nodes) || return 1
  ( umask 077; jq --argjson scaled "$(scaled_now)" --arg release "$1" --arg nodes "$nodes" "$scaled_program" "$home/stack.json" >"$home/stack.now" )
  jq -r --arg stack "$stack" '.services | to_entries[] | "w \($stack)_\(.key) \(.value.labels["devflow.spec"])"' "$home/stack.json" >"$run/wanted"
  jq -r '.services | to_entries[] | "\(.key): \(if .value.deploy.mode == "global" then "one on each node" else "\(.value.deploy.replicas // 1)" end) of \(.value.image), updated \(.value.deploy.update_config.order)"' "$home/stack.now"
  set -- --prune --resolve-image never --with-registry-auth --compose-file "$home/stack.now"
  if docker stack deploy --help | grep -q -e --detach; then set -- --detach=true "$@"; fi
  code=0
  docker stack deploy "$@" "$stack" >"$run/stack" 2>&1 || code=$?
  rm -f "$home/stack.now"
  cat "$run/stack"
  return "$code"
}
observe() {
  docker service ls --filter "label=com.docker.stack.namespace=$stack" --format '{{.Name}} {{.Mode}} {{.Replicas}}' >"$run/replicas" || return 1
  cat "$run/wanted" >"$run/observed"
  while read -r name mode replicas _; do
    case $mode in *job*) continue ;; esac
    seen=$(docker service inspect --format '{{.ID}} {{if .UpdateStatus}}{{or .UpdateStatus.State "-"}}{{else}}-{{end}} {{or (index .Spec.TaskTemplate.ContainerSpec.Labels "devflow.spec") "-"}}' "$name" 2>/dev/null) || return 1
    echo "s $name $seen $replicas" >>"$run/observed"
  done <"$run/replicas"
  ids=$(docker stack ps --quiet --no-trunc "$stack" 2>/dev/null) || ids=''
  [ -z "$ids" ] || docker inspect --type task --format 't {{.ServiceID}} {{.DesiredState}} {{.Status.State}} {{or (index .Spec.ContainerSpec.Labels "devflow.spec") "-"}} {{.Status.Err}}' $ids >>"$run/observed" 2>/dev/null || :
  awk -v "most=$most_failures" "$judge_program" "$run/observed" >"$run/judged"
  { docker stack ps --quiet --no-trunc --filter desired-state=running "$stack" 2>/dev/null || :; } | sort >"$run/tasks"
}
# converged SECONDS: every service runs as many tasks of its specification as it is to, and nothing changes any more.
# Else it fails and says why in $why.
converged() {
  read -r now _ </proc/uptime
  until_when=$((${now%%.*} + $1)) steady_since='' last_tasks='' told='' surplus_since=''
  while :; do
    if observe; then
      if grep '^bad ' "$run/judged" >"$run/bad"; then
        read -r _ service why <"$run/bad"
        why="$service: $why"
        return 1
      fi
      read -r now _ </proc/uptime; now=${now%%.*}
      waiting=$(sed -n 's/^wait //p' "$run/judged" | tr '\n' ';')
      if [ -n "$waiting" ] && [ "$waiting" != "$told" ]; then echo "Waiting: $waiting"; told=$waiting; fi
      tasks=$(cat "$run/tasks")
      if [ -n "$waiting" ] || [ "$tasks" != "$last_tasks" ] || ! grep -q '^s ' "$run/observed"; then steady_since=$now; fi
      last_tasks=$tasks
      # of an update that was broken off half way two tasks of a replica can stay: the next update, of nothing, ends one
      if ! grep -q '^surplus ' "$run/judged"; then surplus_since=''
      elif [ -z "$surplus_since" ]; then surplus_since=$now
      elif [ $((now - surplus_since)) -ge "$surplus_seconds" ]; then
        sed -n 's/^surplus //p' "$run/judged" | while read -r each; do
          echo "More tasks of $each run than are wanted: it is updated once more."
          docker service update --quiet --detach "$each" >/dev/null || :
        done
        surplus_since=''
      fi
      if [ $((now - steady_since)) -ge "$steady_seconds" ]; then return 0; fi
    fi
    read -r now _ </proc/uptime
    if [ "${now%%.*}" -ge "$until_when" ]; then why="not converged after $1 s: ${waiting:-the manager does not answer}"; service=${waiting%% *}; return 1; fi
    sleep 1
  done
}
last_words() {  # what the tasks of a service printed last
  [ -n "${1:-}" ] || return 0
  timeout 15 docker service logs --raw --tail 20 "$1" 2>&1 | tail -n 20 | sed 's/^/  | /' || :
}
"""
    + f"steady_seconds={STEADY_SECONDS} most_failures={MOST_FAILURES} surplus_seconds={SURPLUS_SECONDS}\n"
)

CHECK = compose.CHECK

CHECK_MANAGER = (
    FUNCTIONS
    + r"""
state=$(docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}')
if [ "$leads" != 1 ]; then
  case $state in active*) exit 0 ;; esac
  explain "$server is a server of this environment, but in no swarm (Docker says: ${state%% *}). Let it join the cluster: Servers, Clusters, or devflow clusters join CLUSTER $server. Or take it out of the environment's servers."
fi
case $state in
  'active true') ;;
  active*) explain "$server is a worker of its swarm. The first server of the environment, by name, deploys the stack and must be a manager: docker node promote, or other servers." ;;
  *) explain "$server is in no swarm (Docker says: ${state%% *}). Form a cluster with it first: Servers, Clusters, or devflow clusters form NAME $server." ;;
esac
nodes=$(ready_nodes) || explain "The swarm of $server has no node that takes tasks: $(docker node ls 2>&1 | tail -n 1)"
[ "$nodes" -le "$stack_servers" ] || explain "The swarm has $nodes nodes that take tasks, and this environment $stack_servers of them as servers: its images would be missing on the others. Give the environment all of them, or drain the others."
known=$(docker node ls --quiet | wc -l)
[ "$known" -ge "$stack_servers" ] || explain "The swarm of $server has $known nodes, and this environment $stack_servers servers: one of them is in another swarm. Let it leave that and join this one, or take it out of the environment's servers."
for each in $(services_of_stack); do
  of=$(docker service inspect --format '{{index .Spec.Labels "devflow.environment"}}' "$each")
  [ "$of" = "$environment" ] || explain "The swarm has a stack $stack already that is not this environment's (service $each). Choose another name for the stack in the settings of the environment."
done
"""
)

PREPARE = (
    FUNCTIONS
    + r"""
home_of "$release"
[ ! -s "$run/commit" ] || read -r commit <"$run/commit"
short=$(printf '%.12s' "$commit")
jq -r '.services | to_entries[] | .key as $name | .value.ports[]? | select((.host_ip // "") != "" and .host_ip != "0.0.0.0") | "\($name) \(.host_ip)"' "$home/resolved.json" >"$run/host_ips"
if read -r each address <"$run/host_ips"; then explain "The service $each publishes a port on $address only. A swarm publishes on all addresses: take the address out of the Compose file, and keep the port shut by a firewall."; fi
once=$(sed -n 's/^once //p' "$home/treatment")
[ -z "$once" ] || explain "These services end by themselves, and a swarm would start them again and again: $once. Do their work where the application starts, or in a command of the environment, and give them a profile."
: >"$home/stack.images.new"
while read -r each id; do
  if jq -e --arg name "$each" '.services[$name].build' "$home/resolved.json" >/dev/null; then key=$short
  else
    key=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$id" | sed -n 's/.*@sha256://p' | sort | head -n 1 | cut -c 1-12)
    [ -n "$key" ] || key=$(jq -r --arg name "$each" '.services[$name].image' "$home/resolved.json" | sha256sum | cut -c 1-12)
  fi
  image=devflow-stack/$environment-$(short_name "$each"):$key
  docker tag "$id" "$image"
  echo "$each $image" >>"$home/stack.images.new"
done <"$home/images"
mv "$home/stack.images.new" "$home/stack.images"
cat "$home/stack.images"
"""
)
"""On each server: the release's images under names that are the same everywhere: by commit where it is built here, else
by the registry's digest (an image's id depends on the server's platform), or by its name where there is none."""

SPECIFY = (
    FUNCTIONS
    + r"""
home_of "$release"
umask 077
images=$(jq -Rn '[inputs | split(" ") | {key: .[0], value: .[1]}] | from_entries' "$home/stack.images")
jq --argjson images "$images" --arg monitor "$strategy_monitor_seconds" --arg environment "$environment" --arg path "$root/releases/$release" "$stack_program" "$home/resolved.json" >"$home/stack.new"
jq -r '.services | keys[]' "$home/stack.new" | while read -r each; do
  printf '%s %s\n' "$each" "$( ( jq -cS --arg name "$each" '.services[$name] | del(.deploy)' "$home/stack.new"; grep "^$each " "$home/images" ) | sha256sum | cut -c 1-16)"
done >"$run/specs"
jq --argjson specs "$(jq -Rn '[inputs | split(" ") | {key: .[0], value: .[1]}] | from_entries' "$run/specs")" '.services |= with_entries(.value.labels = ((.value.labels // {}) + {"devflow.spec": $specs[.key]}))' "$home/stack.new" >"$home/stack.json"
rm "$home/stack.new"
if docker stack config --help >/dev/null 2>&1 && ! docker stack config --compose-file "$home/stack.json" >/dev/null 2>"$run/said"; then
  cat "$run/said"
  explain "Docker does not take the Compose file as a stack: $(grep -v '^Ignoring' "$run/said" | tail -n 1 | cut -c 1-500)"
fi
grep '^Ignoring' "$run/said" 2>/dev/null || :
echo "Services: $(jq -r '.services | keys | join(" ")' "$home/stack.json")"
"""
)
"""On the manager: the specification, which is checked before anything is changed."""

DEPLOY = (
    FUNCTIONS
    + r"""
before=$(readlink "$root/current" 2>/dev/null) || before=''
before=${before##*/}
[ -s "$root/.devflow/compose/$before/stack.json" ] || before=''
[ -f "$root/.devflow/stack.$deployment" ] || printf '%s\n' "$before" >"$root/.devflow/stack.$deployment"
[ -s "$root/.devflow/compose/$release/stack.json" ] || explain "The release $release was not deployed as a stack by $server. Deploy its commit."
stack_deploy "$release" || explain "Docker did not take the stack: $(tail -n 1 "$run/stack" | cut -c 1-500)"
if ! converged "$strategy_wait_seconds"; then
  last_words "$service"
  explain "$why"
fi
echo "Converged: $(sed -n 's/^\([^ ]*\) [^ ]* \([^ ]*\).*/\1 \2/p' "$run/replicas" | tr '\n' ' ')"
"""
)

BACK = (
    FUNCTIONS
    + rf"""
if [ -f "$root/.devflow/stack.$deployment" ]; then
  read -r before <"$root/.devflow/stack.$deployment" || before=''
  if [ -n "$before" ]; then
    stack_deploy "$before" || explain "Docker did not take the stack of $before: $(tail -n 1 "$run/stack" | cut -c 1-500)"
    converged {UNDO_SECONDS} || explain "The stack is to be that of $before again, and is not yet: $why"
    echo "The stack is that of $before again."
    note took_back "$before"
  else
    docker stack rm "$stack"
    echo "There was no stack before: nothing is served."
    note took_back nothing
  fi
  rm -f "$root/.devflow/stack.$deployment"
fi
"""
)
"""At whatever point it went wrong: the recorded specification of the release before. Safe to be run again."""

FORGET = r"""
rm -f "$root/.devflow/stack.$deployment"
"""

KEEPS = (
    FUNCTIONS
    + r"""
home_of "$release"
[ -s "$home/stack.images" ] || explain "The release $release was not deployed as a stack. Deploy its commit."
while read -r each image; do
  docker image inspect "$image" >/dev/null 2>&1 || explain "The image of the service $each of the release $release is not on $server any more. Deploy its commit."
done <"$home/stack.images"
"""
)

PRUNE = (
    compose.PRUNE
    + r"""
kept=" $(cat "$root"/.devflow/compose/*/stack.images 2>/dev/null | cut -d ' ' -f 2 | tr '\n' ' ')"
docker image ls --format '{{.Repository}}:{{.Tag}}' --filter "reference=devflow-stack/$environment-*" | while read -r name; do
  case $kept in *" $name "*) continue ;; esac
  if docker image rm "$name" >/dev/null 2>&1; then echo "Removed the image $name"; fi
done
"""
)
