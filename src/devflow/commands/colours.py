"""Two colours of a site: which one serves, which is next, and what a deployment must know to find its way back.

On the server, in `<root>/.devflow`: `live` is `<colour> <release>` of what the proxy sends traffic to, `standby` the same
of the colour that still runs, or could. `traffic.<deployment>` holds what a deployment found and means to do, until it has
ended: three lines, what was live, what was on standby, and `<colour> <release> <mode>` of what is to go live; `-` stands
for nothing, and the mode is `new` or, for a release that still runs on standby, `standby`. `ports` has a line
`<colour> <release> <port>` for each that was started: the environment's port may be another by now.
"""

from __future__ import annotations

PORT_TAKEN = r"""
# port_taken PORT [ADDRESS [udp]]: ends well where something listens on the port, of that address if one is given; prints
# what, as far as it can be seen.
port_taken() {
  ss_of=-Hltnp
  if [ "${3:-}" = udp ]; then ss_of=-Hlunp; fi
  taken=$(ss $ss_of "sport = :$1" 2>/dev/null)
  case ${2:-} in ''|0.0.0.0|::) ;; *) taken=$(printf '%s\n' "$taken" | awk -v of="$2" '{ at = $4; sub(/:[0-9]+$/, "", at); sub(/%.*/, "", at); gsub(/[][]/, "", at) } at == of || at == "*" || at == (of ~ /:/ ? "::" : "0.0.0.0")') ;; esac
  [ -n "$taken" ] || return 1
  by=$(printf '%s\n' "$taken" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p' | head -n 1)
  echo "${by:-another process (see: sudo ss -${ss_of#-H} sport = :$1)}"
}
"""

FUNCTIONS = (
    r"""
traffic=$root/.devflow/traffic.$deployment
# read_colours: sets live_colour, live_release, standby_colour, standby_release; '' where there is none.
read_colours() {
  live_colour='' live_release='' standby_colour='' standby_release=''
  if [ -s "$root/.devflow/live" ]; then read -r live_colour live_release <"$root/.devflow/live"; fi
  if [ -s "$root/.devflow/standby" ]; then read -r standby_colour standby_release <"$root/.devflow/standby"; fi
}
other_colour() { if [ "$1" = blue ]; then echo green; else echo blue; fi; }
# as_colour COLOUR RELEASE: sets colour, port, release_of_colour. The port is the one that this release was started on under
# the colour; where none is noted, it is that of the settings.
as_colour() {
  colour=$1 release_of_colour=$2 port=$blue_port
  if [ "$colour" = green ]; then port=$green_port; fi
  [ -n "$2" ] && [ -s "$root/.devflow/ports" ] || return 0
  while read -r noted_colour noted_release noted_port; do
    if [ "$noted_colour $noted_release" = "$1 $2" ]; then port=$noted_port; fi
  done <"$root/.devflow/ports"
}
# on_new_port COLOUR RELEASE: as_colour, with the port of the settings, which is noted: to be called before the release is
# started. What is noted of releases that are gone is forgotten.
on_new_port() {
  as_colour "$1" ''
  release_of_colour=$2
  {
    if [ -s "$root/.devflow/ports" ]; then
      while read -r noted_colour noted_release noted_port; do
        [ "$noted_colour $noted_release" != "$1 $2" ] && [ -d "$root/releases/$noted_release" ] || continue
        echo "$noted_colour $noted_release $noted_port"
      done <"$root/.devflow/ports"
    fi
    echo "$1 $2 $port"
  } >"$root/.devflow/ports.next.$deployment"
  mv "$root/.devflow/ports.next.$deployment" "$root/.devflow/ports"
}
# with_colour COLOUR RELEASE COMMAND…: the command where $colour, $port, $release and $path are of that colour.
with_colour() (
  as_colour "$1" "$2"
  release=$2; path=$root/releases/$2
  shift 2
  "$@"
)
# tell_colour live|standby [COLOUR RELEASE]: by one rename; without a colour there is none any more.
tell_colour() {
  if [ -z "${2:-}" ]; then rm -f "$root/.devflow/$1"; return 0; fi
  printf '%s %s\n' "$2" "$3" >"$root/.devflow/$1.next.$deployment"
  mv "$root/.devflow/$1.next.$deployment" "$root/.devflow/$1"
}
# plan_traffic COLOUR RELEASE new|standby: notes what is and what is meant, once, before anything of it is done.
plan_traffic() {
  [ ! -f "$traffic" ] || return 0
  read_colours
  printf '%s\n' "${live_colour:--} ${live_release:--}" "${standby_colour:--} ${standby_release:--}" "$*" >"$traffic.next"
  mv "$traffic.next" "$traffic"
}
# plan_anew: the release that was meant to go on from standby is started, checked and watched like a new one.
plan_anew() {
  sed '3s/ standby$/ new/' "$traffic" >"$traffic.next"
  mv "$traffic.next" "$traffic"
  mode=new
  tell_colour standby
}
# read_traffic: sets old_colour old_release (live before), spare_colour spare_release (on standby before), next_colour next_release mode.
read_traffic() {
  { read -r old_colour old_release; read -r spare_colour spare_release; read -r next_colour next_release mode; } <"$traffic"
  if [ "$old_colour" = - ]; then old_colour='' old_release=''; fi
  if [ "$spare_colour" = - ]; then spare_colour='' spare_release=''; fi
}
# probe COMMAND…: sets `code` to how the command ended, without a word. To be called as a statement of its own.
probe() {
  set +e
  ( set -e; explain() { exit 1; }; "$@" ) >/dev/null 2>&1
  code=$?
  set -e
}
# be_patient: what its own health check calls ill is waited for by looks from now on, for the strategy's time to start: until
# ill_until, in seconds since the server's start.
be_patient() {
  read -r now _ </proc/uptime
  ill_until=$((${now%%.*} + ${strategy_start_seconds:-60}))
}
connections() { ss -Htn state established "dport = :$1" 2>/dev/null | wc -l; }
# drain PORT SECONDS: waits until nobody is connected to the port any more, or the time is over.
drain() {
  left=$(($2 * 5)) open=$(connections "$1")
  [ "$open" = 0 ] || echo "Waiting for $open connections to port $1, at most $2 s"
  while [ "$open" -gt 0 ] && [ "$left" -gt 0 ]; do
    sleep 0.2
    left=$((left - 1)) open=$(connections "$1")
  done
  [ "$open" = 0 ] || echo "$open connections to port $1 are cut: the $2 s are over"
}
"""
    + PORT_TAKEN
)

CHECK = (
    FUNCTIONS
    + r"""
command -v curl >/dev/null || explain "curl is not installed on $server; releases are checked with it before they serve. Install it there: apt-get install curl"
command -v ss >/dev/null || explain "ss is not installed on $server; connections are counted with it. Install it there: apt-get install iproute2"
read_colours
live_port='' standby_port='' next=$(other_colour "${live_colour:-green}")
if [ -n "$live_colour" ]; then as_colour "$live_colour" "$live_release"; live_port=$port; fi
if [ -n "$standby_colour" ]; then as_colour "$standby_colour" "$standby_release"; standby_port=$port; fi
for each in blue green; do
  if [ "$standby_colour $standby_release" = "$next $release" ]; then break; fi  # nothing is to be started
  as_colour "$each" ''
  if [ "$each $port" = "$next $live_port" ]; then
    explain "Port $port of $server, which is this environment's for its $each colour now, is the one on which $live_colour ($live_release) still serves, since the environment's port was changed by one. Choose one in its settings that is two or more away."
  fi
  case $port in "$live_port"|"$standby_port") continue ;; esac
  if by=$(port_taken "$port"); then
    explain "Port $port of $server, which is this environment's for its $each colour, is taken by $by. Stop that, or choose another port in the settings of the environment."
  fi
done
"""
)
"""What two colours need, and whether their ports are free: before anything is done."""

CHECK_NONE = """\
if [ -s "$root/.devflow/live" ]; then
  read -r colour name <"$root/.devflow/live"
  explain "On $server nginx sends the traffic to $name, which runs as $colour: this strategy would not change that. Choose blue-green again; or stop it for good, have something else serve the application, and remove $root/.devflow/live."
fi
"""
"""Nothing of two colours serves the site."""

START = r"""
read_colours
next=$(other_colour "${live_colour:-green}") mode=new
if [ "$standby_colour $standby_release" = "$next $release" ]; then mode=standby; fi
plan_traffic "$next" "$release" "$mode"
read_traffic
if [ "$mode" = standby ]; then
  probe with_colour "$next_colour" "$release" runtime_look
  if [ "$code" = 0 ]; then echo "$release still runs on standby ($next_colour)"; exit 0; fi
  echo "$release does not run on standby any more; it is started again, and checked like a new one"
  plan_anew
elif [ "$standby_colour" = "$next_colour" ]; then
  as_colour "$standby_colour" "$standby_release"
  drain "$port" "$drain_seconds"
  tell_colour standby
fi
with_colour "$next_colour" "$release" runtime_remove
on_new_port "$next_colour" "$release"
if by=$(port_taken "$port"); then
  explain "Port $port of $server, where the release is to run as $next_colour, is taken by $by. Nothing was changed: stop that, or choose another port in the settings of the environment."
fi
echo "Starting $release as $next_colour on port $port"
with_colour "$next_colour" "$release" runtime_start
"""
"""Starts the release as the colour that does not serve; one that still runs on standby is taken as it is."""

CHECK_COLOUR = r"""
set -f  # a path may hold a star
read_traffic
as_colour "$next_colour" "$release"
ask() { curl -sS -g -m 10 -o "$run/answer" -w '%{http_code}' -H "Host: $host" -H 'X-Forwarded-Proto: https' -A devflow-health -- "http://127.0.0.1:$port$1" 2>"$run/answer.error"; }
checks=${strategy_checks:-3} good=0 got='no answer'
if [ "$mode" = standby ]; then checks=1; fi
if [ "$checks" -lt 1 ]; then checks=1; fi
read -r now _ </proc/uptime
deadline=$((${now%%.*} + ${strategy_start_seconds:-60}))
if [ "$mode" != standby ]; then ill_until=$deadline; fi  # a slow start is no illness
is_good() {
  got=$(ask "$path_of_check") || { got="no answer ($(tail -n 1 "$run/answer.error"))"; return 1; }
  case $got in $wanted) ;; *) return 1 ;; esac
  [ -z "$text" ] || grep -qaF -e "$text" "$run/answer" || { got="$got, without the text '$text'"; return 1; }
}
unwell() { with_colour "$next_colour" "$release" runtime_words || :; explain "$1"; }
until is_good; do
  with_colour "$next_colour" "$release" runtime_look
  read -r now _ </proc/uptime
  [ "${now%%.*}" -lt "$deadline" ] || unwell "The new release does not become healthy on $server: after ${strategy_start_seconds:-60} s http://127.0.0.1:$port$path_of_check answers $got (wanted ${wanted#\[23\]??}${text:+ with the text '$text'}). The release before serves on."
  sleep 0.3
done
if [ "$mode" != standby ]; then
  for each in ${strategy_warm_paths:-}; do echo "$each answered $(ask "$each" || echo nothing)"; done
fi
good=1
while [ "$good" -lt "$checks" ]; do
  sleep 0.3
  with_colour "$next_colour" "$release" runtime_look
  if is_good; then good=$((good + 1)); continue; fi
  good=0
  read -r now _ </proc/uptime
  [ "${now%%.*}" -lt "$deadline" ] || unwell "The new release does not stay healthy on $server: http://127.0.0.1:$port$path_of_check answered $got after it had answered well. The release before serves on."
done
with_colour "$next_colour" "$release" runtime_look
echo "$next_colour ($release) answered $got, $checks times in a row"
"""
"""Warms the new colour up and asks it, over `$path_of_check $wanted $host $text`, until enough answers in a row were good."""

WATCH = r"""
read_traffic
left=${strategy_watch_seconds:-15}
if [ "$mode" = standby ]; then left=0; fi
with_colour "$next_colour" "$release" runtime_look
left=$((left * 4))
while [ "$left" -gt 0 ]; do  # often: what died is answered for by nobody until it is taken back
  sleep 0.25
  left=$((left - 1))
  with_colour "$next_colour" "$release" runtime_look
done
"""
"""The release that serves runs on, without a break, for `$strategy_watch_seconds`."""

RETIRE = r"""
read_traffic
if [ -z "$old_colour" ]; then echo 'Nothing served before'; exit 0; fi
with_colour "$old_colour" "$old_release" runtime_disable || echo "$old_colour comes up after a reboot, too"
timer=devflow-$environment-retire
in_systemd() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n -- "$@"
  else
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; export XDG_RUNTIME_DIR
    program=$1; shift; "$program" --user "$@"
  fi
}
if [ -d /run/systemd/system ]; then in_systemd systemctl stop "$timer.timer" >/dev/null 2>&1 || :; fi
minutes=${strategy_standby_minutes:-30}
if [ "$minutes" -gt 0 ]; then
  account=''
  if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then account="--uid=$(id -u)"; fi
  if [ -d /run/systemd/system ] && in_systemd systemd-run --quiet --collect --unit="$timer" --on-active="${minutes}m" $account --setenv=HOME="$HOME" \
    /bin/sh "$root/.devflow/retire" "$old_colour" "$old_release" 2>"$run/timer.said"
  then echo "$old_colour ($old_release) goes on running for $minutes minutes, on standby"
  else echo "$old_colour ($old_release) goes on running until the next deployment: there is no timer on this server to stop it"
  fi
  exit 0
fi
as_colour "$old_colour" "$old_release"
drain "$port" "$drain_seconds"
with_colour "$old_colour" "$old_release" runtime_stop || echo "$old_colour could not be stopped"
echo "$old_colour ($old_release) is stopped"
"""
"""The old colour is stopped: by a timer of the server's after its time on standby, or at once."""

RETIRE_LATER = r"""
is_still() { read_colours; [ "$standby_colour $standby_release" = "$wanted" ] && [ ! -s "$root/.devflow/lock" ]; }
wanted="$1 $2"
is_still || exit 0
as_colour "$1" "$2"
drain "$port" "$drain_seconds"
exec 9>>"$root/.devflow/lock.mutex"
flock 9
is_still || exit 0
with_colour "$1" "$2" runtime_stop
"""
"""What that timer runs, with a colour and a release as `$1` and `$2`: nothing where they are on standby no more."""

TAKE_BACK = r"""
if [ -f "$traffic" ]; then
  read_traffic
  if [ -n "$old_colour" ]; then
    probe with_colour "$old_colour" "$old_release" runtime_look
    if [ "$code" != 0 ] && [ -d "$nginx_before" ]; then
      echo "$old_colour ($old_release) does not run; it is started again"
      as_colour "$old_colour" "$old_release"
      port_taken "$port" >/dev/null || with_colour "$old_colour" "$old_release" runtime_start
      tries=150
      until port_taken "$port" >/dev/null || [ "$tries" = 0 ]; do sleep 0.2; tries=$((tries - 1)); done
    fi
    with_colour "$old_colour" "$old_release" runtime_enable
  fi
  if [ -d "$nginx_before" ]; then
    lock_nginx
    put_back_nginx
    exec 8<&-
  fi
  tell_colour live "$old_colour" "$old_release"
  if [ "$mode" = standby ]; then
    with_colour "$next_colour" "$next_release" runtime_disable
    tell_colour standby "$spare_colour" "$spare_release"
  else
    as_colour "$next_colour" "$next_release"
    if [ -d "$nginx_before" ]; then drain "$port" "$drain_seconds"; fi
    with_colour "$next_colour" "$next_release" runtime_remove
    tell_colour standby
  fi
fi
rm -f "$traffic.next" "$root/.devflow/ports.next.$deployment" "$root/.devflow/live.next.$deployment" "$root/.devflow/standby.next.$deployment"
"""
"""The way back: the colour before runs and has the traffic again, the new one is gone. Uses nginx.FUNCTIONS."""
