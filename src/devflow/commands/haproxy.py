"""HAProxy as a balancer: its runtime API over the admin socket, and the part of its configuration that is the panel's.

The shell functions are those that commands/balancer.py asks for. They read `$backend`, `$socket`, `$nodes` and, where the
panel makes the backend (`$is_ours`), put `$part` between two marks into `$config`. `$sum` keeps the checksum of the part that
HAProxy serves; while another one is put in place, that of both.
"""

from __future__ import annotations

from collections.abc import Iterable

CONFIG = "/etc/haproxy/haproxy.cfg"
MASTER_SOCKET = "/run/haproxy-master.sock"
"""Of the process over all workers, where Debian's and Ubuntu's service has it; for root only."""
LOCK_SECONDS = 120
"""How long is waited for another environment that changes the file."""


def backend_of(environment_id: str) -> str:
    """The name of the backend that the panel makes."""
    return f"devflow_{environment_id}"


def part(*, environment_id: str, nodes: Iterable[tuple[str, str]], port: int, path: str, host: str) -> str:
    """A front end on `port` and its backend: `nodes` are names and addresses, asked for `path` once a second."""
    name = backend_of(environment_id)
    servers = "".join(
        f"    server {node} {address} check inter 1s fall 2 rise 1 weight 100\n" for node, address in nodes
    )
    return f"""\
frontend {name}
    mode http
    bind :{port}
    timeout client 1m
    default_backend {name}
backend {name}
    mode http
    balance roundrobin
    option forwardfor
    option redispatch
    retries 2
    timeout connect 5s
    timeout server 1m
    timeout tunnel 1h
    option httpchk
    http-check send meth GET uri {path} ver HTTP/1.1 hdr Host {host or "localhost"}
    http-check expect status 200-399
{servers}"""


FUNCTIONS = """\
me=$(id -un)
PATH=$PATH:/usr/sbin:/sbin
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi; }
is_master() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
begins="# begin $backend: made by DevFlow Pro, changed there only"
ends="# end $backend"
ask() {
  if command -v socat >/dev/null; then printf '%s\\n' "$2" | $way socat -t 5 - "UNIX-CONNECT:$1"
  else printf '%s\\n' "$2" | $way perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!\\n"; print $s <STDIN>; $s->flush; print while <$s>' "$1"
  fi
}
hap() { ask "$socket" "$1"; }
find_way() {
  way=''
  [ -S "$socket" ] || $1 "HAProxy on $server has no socket $socket. Is it running? It needs this line in the section global of $config: stats socket $socket mode 660 level admin"
  hap 'show cli level' >/dev/null 2>&1 || way=as_root
  case $(hap 'show cli level' 2>&1) in
    *admin*) ;;
    *) $1 "$me may not give orders to HAProxy on $server over $socket. Add $me to its group: usermod -aG $(stat -c %G "$socket") $me. The socket needs 'level admin' in $config." ;;
  esac
}
# What HAProxy calls the node NAME: the same, or whatever has the node's address.
hap_server() {
  hap "show servers state $backend" | awk -v name="$1" -v at="$(address_of "$1")" '
    $1 ~ /^[0-9]+$/ { if ($4 == name) named = $4; if ($5 ":" $19 == at || "[" $5 "]:" $19 == at) placed = $4 }
    END { print named != "" ? named : placed }'
}
hap_field() { hap 'show stat -1 4 -1' | field_of "$1" "$2"; }
field_of() { awk -F, -v at="$backend" -v name="$(hap_server "$1")" -v field="$2" '$1 == at && $2 == name { print $field }'; }
# Workers that a reload has left behind finish what they began, and hear nothing of what the one of now is told.
hap_master() { ( way=as_root; ask "$master_socket" "$1" 2>/dev/null ) || :; }
old_workers() { [ ! -S "$master_socket" ] || ! is_master || hap_master 'show proc' | awk '/^#/ { is_old = / old / } is_old && $1 ~ /^[0-9]+$/ { print $1 }'; }
drain_old() { for worker in $(old_workers); do hap_master "@!$worker set server $backend/$(hap_server "$1") state drain" >/dev/null; done; }
# How many requests are under way on the node NAME.
under_way() {
  many=$(hap_field "$1" 5)
  for worker in $(old_workers); do
    left=$(hap_master "@!$worker show stat -1 4 -1" | field_of "$1" 5)
    [ -z "$many" ] || many=$((many + ${left:-0}))
  done
  echo "$many"
}
hap_set() {
  said=$(hap "set server $backend/$(hap_server "$1") state $2" 2>&1) || said="no answer${said:+: $said}"
  [ -z "$said" ] || explain "HAProxy on $server refused to set $1 to $2: $said"
}
is_given() { case $(hap_field "$1" 18) in ''|MAINT*|DRAIN*) return 1 ;; esac; }
# Whether it does not have the application yet, and was not in the part before with this address.
is_new() { is_among "$1" $fresh && ! part_of | grep -F " server $1 $(address_of "$1") " | grep -qv ' disabled$'; }
is_ready() {
  case $(hap_field "$1" 18) in
    UP*) ;;
    'no check') answers "$1" ;;
    *) return 1 ;;
  esac
}
shown() { echo "$1 is $(hap_field "$1" 18) in HAProxy"; }
check_balancer() {
  command -v haproxy >/dev/null || explain "HAProxy is not installed on $server. Install it there: apt-get install haproxy"
  command -v socat >/dev/null || command -v perl >/dev/null || explain "Neither socat nor perl is installed on $server; one of them speaks to HAProxy. Install it there: apt-get install socat"
  find_way explain
  if [ -n "$is_ours" ]; then
    is_master || explain "$me may not write $config on $server and reload HAProxy. Log in as root there, allow $me everything by sudo without a password, or make the backend yourself and name it in the settings of the strategy: then it is enough that $me is in the group haproxy."
    if [ -s "$sum" ] && [ -n "$(part_of)" ] && ! part_of | cksum | grep -qxF -f "$sum"; then
      explain "Somebody changed the part between '$begins' and '$ends' of $config on $server, which the panel had written. Take the change back, or remove that part: then it is written anew."
    fi
    unbound
    port_is_free
    return 0
  fi
  hap "show servers state $backend" | grep -q " $backend " || explain "HAProxy on $server has no backend $backend with servers."
  for name in $all; do
    [ -n "$(hap_server "$name")" ] || explain "The backend $backend of HAProxy on $server has no server $name and none with the address $(address_of "$name"). Add it there, or say in the settings of the strategy at which address the balancer reaches $name."
  done
}
part_of() { awk -v a="$begins" -v z="$ends" '$0 == a { on = 1; next } $0 == z { on = 0 } on' "$config"; }
without_part() { awk -v a="$begins" -v z="$ends" '$0 == a { on = 1 } !on; $0 == z { on = 0 }' "$config"; }
unbound() {
  if without_part | grep -Eq "^[[:space:]]*bind[[:space:]]+[^[:space:]]*:$port([[:space:]]|$)"; then
    explain "Something else in $config on $server takes requests on port $port. Choose another port, or name its backend in the settings of the strategy."
  fi
}
# Something that is not HAProxy on the port, which takes IPv4: HAProxy would find out only after its reload, and say little.
port_is_free() {
  command -v ss >/dev/null || return 0
  taken=$(as_root ss -Hltnp "sport = :$port" 2>/dev/null | awk '$4 !~ /^\\[/' | grep -v '(("haproxy",' | head -n 1) || :
  [ -n "$taken" ] || return 0
  owner=$(printf '%s\\n' "$taken" | sed -n 's/.*users:(("\\([^"]*\\)",pid=\\([0-9]*\\).*/\\1 (process \\2)/p')
  explain "Port $port on $server is taken by ${owner:-a program that ss does not name}, so HAProxy cannot take requests there. Nothing was changed: stop that, or choose another port in the settings of the strategy.$(old_nginx)"
}
# The list of servers by which nginx balances, of a time when that was the balancer: nobody keeps it any more.
old_nginx() {
  file=$nginx_folder/$environment-nodes.conf
  [ ! -f "$file" ] || printf ' %s' "nginx on $server still spreads requests by $file, over the servers of before, and drains none of them. When nobody asks nginx any more, remove it: sudo rm $file && sudo systemctl reload nginx"
}
# One at a time changes the file, whichever environment's it is: the lock is on its folder, and goes with the process.
lock_config() {
  exec 8<"${config%/*}"
  flock -w "$lock_seconds" 8 || explain "Something else changes $config on $server for $lock_seconds s already. Nothing was changed. See who has the folder open: fuser -v ${config%/*}"
}
# What is kept of the part is known before the file is changed: a run that was killed in between was no edit by hand.
keep_sums() { { if [ -s "$sum" ]; then cat "$sum"; fi; printf '%s\\n' "$part" | cksum; printf '%s\\n' "$begun" | cksum; } >"$sum.next"; mv "$sum.next" "$sum"; }
# The configuration with the panel's part: tested, kept, reloaded; the one before is put back where that fails.
write_balancer() {
  left=$(old_nginx)
  [ -z "$left" ] || echo "${left# }"
  [ -n "$is_ours" ] || return 0
  find_way explain
  lock_config
  write_part
  exec 8<&-
  keep_fresh_out
}
# Another environment may have HAProxy reload before these have the application.
keep_fresh_out() {
  waiting=''
  for name in $fresh; do
    case $(hap_field "$name" 18) in MAINT*) mkdir -p "$state"; : >"$state/out.$name"; waiting=1 ;; esac
  done
  [ -z "$waiting" ] || keep_out
}
write_part() {
  if [ "$(part_of)" = "$part" ] && [ "$(part_of | cksum)" = "$(cat "$sum" 2>/dev/null)" ]; then return 0; fi
  unbound  # another environment may have come first
  next=$config.devflow-$environment before=$config.before-devflow-$environment
  out='' script=''
  for name in $all; do
    case $(hap_field "$name" 18) in
      MAINT*|DRAIN*) out="$out $name" ;;
      *) ! is_new "$name" || out="$out $name" ;;
    esac
  done
  for name in $out; do script="$script;/^ *server $name /s/\\$/ disabled/"; done
  # HAProxy begins with these in maintenance: it would give them requests before it could be told
  begun=$(printf '%s\\n' "$part" | sed "$script")
  as_root cp -p "$config" "$next"  # also its mode: it may hold passwords
  with_part "$begun" | as_root tee "$next" >/dev/null
  said=$(as_root haproxy -c -f "$next" 2>&1) || { as_root rm -f "$next"; explain "HAProxy on $server would not take its new configuration, so nothing was changed: $(printf '%s\\n' "$said" | sed "s|$next|$config|g" | alerts)"; }
  as_root cp -p "$config" "$before"
  keep_sums
  as_root mv "$next" "$config"
  was=$(hap_pid)
  began=$(date +%s)
  if ! said=$(as_root systemctl reload haproxy 2>&1) || ! new_haproxy; then
    told=$(as_root journalctl -u haproxy --since "@$began" -o cat --no-pager 2>/dev/null | alerts) || :
    as_root cp -p "$before" "$next"
    as_root mv "$next" "$config"
    as_root systemctl reload haproxy || :
    explain "HAProxy on $server did not reload; its configuration was put back: $(echo $said) ${told:-See there: journalctl -u haproxy}"
  fi
  if [ "$begun" != "$part" ]; then
    as_root cp -p "$config" "$next"
    with_part "$part" | as_root tee "$next" >/dev/null
    as_root mv "$next" "$config"
  fi
  part_of | cksum >"$sum.next"
  mv "$sum.next" "$sum"
  echo "HAProxy serves $backend on port $port"
}
with_part() { without_part; printf '%s\\n%s\\n%s\\n' "$begins" "$1" "$ends"; }
# The last of what HAProxy says is wrong, on one line; of anything else, where it calls nothing an alert.
alerts() {
  awk 'NF { $1 = $1; line[++m] = $0; if (/\\[ALERT\\]/) alert[++n] = $0 }
    END { if (n) for (i = n > 5 ? n - 4 : 1; i <= n; i++) printf "%s ", alert[i]; else for (i = m > 5 ? m - 4 : 1; i <= m; i++) printf "%s ", line[i] }'
}
hap_pid() { hap 'show info' 2>/dev/null | sed -n 's/^Pid: //p'; }
new_haproxy() {
  since=$(uptime_seconds)
  until now_pid=$(hap_pid) && [ -n "$now_pid" ] && [ "$now_pid" != "$was" ] && hap "show servers state $backend" | grep -q " $backend "; do
    [ $(($(uptime_seconds) - since)) -lt 15 ] || return 1
    sleep 0.1
  done
}
take_out() {
  for name in "$@"; do
    case $(hap_field "$name" 18) in MAINT*) ;; *) hap_set "$name" drain ;; esac
    drain_old "$name"
    : >"$state/out.$name"
  done
  since=$(uptime_seconds)
  for name in "$@"; do
    until [ "$(under_way "$name")" = 0 ]; do
      if [ $(($(uptime_seconds) - since)) -ge "$drain_seconds" ]; then echo "$name still has $(under_way "$name") requests after $drain_seconds s; going on"; break; fi
      sleep 0.2
    done
    hap_set "$name" maint  # unlike drain, that holds for requests with a cookie of this server too
  done
  keep_out
}
# HAProxy forgets what it was told when it is reloaded or restarted: while this deployment lasts, it is told again.
keep_out() {
  if [ -s "$state/.watch" ] && kill -0 "$(cat "$state/.watch")" 2>/dev/null; then return 0; fi
  (
    set +e
    while read -r _ by _ <"$root/.devflow/lock" && [ "$by" = "$deployment" ]; do
      rest=''
      for file in "$state"/out.*; do
        name=${file##*/out.}
        { exec 7<"$state"; } || exit 0
        flock 7
        if [ -e "$file" ]; then
          rest=1
          case $(hap_field "$name" 18) in ''|MAINT*) ;; *) hap "set server $backend/$(hap_server "$name") state maint" ;; esac
        fi
        exec 7<&-
      done
      [ -n "$rest" ] || exit 0
      sleep 0.3
    done
  ) </dev/null >/dev/null 2>&1 &
  echo "$!" >"$state/.watch"
}
put_in() {
  for name in "$@"; do
    if [ "$warm_seconds" -gt 0 ]; then
      : >"$state/warm.$name"
      hap_weight "$name" 10
    elif [ -f "$state/warm.$name" ]; then
      hap_weight "$name" 100
      rm -f "$state/warm.$name"
    fi
    flock "$state" rm -f "$state/out.$name"  # what keeps it out has asked or will ask, and is not in between
    hap_set "$name" ready
  done
}
hap_weight() {
  said=$(hap "set weight $backend/$(hap_server "$1") $2%" 2>&1) || said="no answer${said:+: $said}"
  [ -z "$said" ] || explain "HAProxy on $server refused to give $1 $2 % of its weight: $said"
}
warm_up() {
  [ "$warm_seconds" -gt 0 ] || return 0
  for name in "$@"; do
    case $(hap "get weight $backend/$(hap_server "$name")") in
      *'(initial 100)'*) ;;
      *) echo "The weight of $name in $backend is not 100: HAProxy cannot give it a tenth of its share exactly" ;;
    esac
  done
  for percent in 25 50 75 100; do
    sleep "$(awk -v all="$warm_seconds" 'BEGIN { print all / 4 }')"
    for name in "$@"; do hap_weight "$name" "$percent"; done
  done
  for name in "$@"; do rm -f "$state/warm.$name"; done
}
"""
