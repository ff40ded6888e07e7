"""A balancer in front of several servers: taking some of them out of the way of requests, and giving them back.

What nginx and HAProxy are asked for are the same shell functions: `check_balancer` (what is missing), `write_balancer`
(configuration), `is_given`, `is_ready`, `shown` (of a node), `take_out`, `put_in`, `warm_up` (nodes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from devflow.commands import haproxy, nginx
from devflow.core.shell import quote

READY_SECONDS = 60
"""How long a node may take until the balancer gives it requests again; and how long is waited for enough others."""
_FILE = "$root/.devflow/balancer.$deployment"

_COMMON = f"""\
ready_seconds={READY_SECONDS}
state=$root/.devflow/nodes.$deployment
sum=$root/.devflow/balancer.sum
uptime_seconds() {{ read -r up _ </proc/uptime; echo "${{up%.*}}"; }}
address_of() {{ printf '%s\\n' "$nodes" | while read -r node address; do [ "$node" != "$1" ] || echo "$address"; done; }}
answered() {{ curl -s -g -o /dev/null -m 5 -w '%{{http_code}}' ${{check_host:+-H "Host: $check_host"}} -- "http://$(address_of "$1")$check_path" || :; }}
answers() {{ case $(answered "$1") in [23]??) ;; *) return 1 ;; esac; }}
is_among() {{ looked=$1; shift; case " $* " in *" $looked "*) ;; *) return 1 ;; esac; }}
# Whether enough nodes would go on without these; true too where these are no help now.
can_spare() {{
  before=0; after=0; missing=''
  for name in $all; do
    if is_ready "$name"; then
      before=$((before + 1))
      is_among "$name" "$@" || after=$((after + 1))
    elif ! is_among "$name" "$@"; then missing="$missing$(shown "$name"). "
    fi
  done
  [ "$after" -ge "$minimum" ] || [ "$after" = "$before" ]
}}
was_of() {{ if is_ready "$1"; then echo ready; elif is_given "$1"; then echo not; else echo out; fi; }}
drain() {{
  mkdir -p "$state"
  since=$(uptime_seconds)
  until can_spare "$@"; do
    [ $(($(uptime_seconds) - since)) -lt "$ready_seconds" ] || explain "Without $*, only $after of at least $minimum servers would be ready: ${{missing}}Mend that, or set a lower minimum."
    sleep 1
  done
  for name in "$@"; do
    [ -s "$state/$name" ] || was_of "$name" >"$state/$name"
  done
  echo "$after of $before ready servers go on without $*"
  take_out "$@"
}}
give() {{
  since=$(uptime_seconds)
  for name in "$@"; do
    until answers "$name"; do
      [ $(($(uptime_seconds) - since)) -lt "$ready_seconds" ] || explain "$name does not answer the balancer: http://$(address_of "$name")$check_path gave $(answered "$name") for $ready_seconds s, wanted 200 to 399. It gets no requests."
      sleep 0.5
    done
  done
  put_in "$@"
  for name in "$@"; do
    until is_ready "$name"; do
      [ $(($(uptime_seconds) - since)) -lt "$ready_seconds" ] || explain "$(shown "$name"), $ready_seconds s after it was to be given requests again."
      sleep 0.2
    done
  done
  warm_up "$@"
  for name in "$@"; do is_ready "$name" || explain "$(shown "$name"), although it was ready before it got its whole share of the requests."; done
  echo "ready: $*"
}}
# On the way back: those that had been taken out; one that was not ready before is not waited for, and one that got no
# requests before, or could not be taken back, stays out.
of_these() {{ these=''; for name in "$@"; do [ ! -s "$state/$name" ] || these="$these $name"; done; }}
drain_again() {{ of_these "$@"; [ -z "$these" ] || drain $these; }}
give_again() {{
  warm_seconds=0
  of_these "$@"
  worst_name=''
  for name in $these; do
    if is_among "$name" $apart; then echo "$name could not be taken back: it gets no requests"
    elif [ "$(cat "$state/$name")" = ready ]; then ( give "$name" ) || worst_name=$name
    elif [ "$(cat "$state/$name")" = out ]; then echo "$name got no requests before: it gets none"
    else put_in "$name"
    fi
  done
  [ -z "$worst_name" ]
}}
"""

_NGINX = r"""
nginx_site=$nginx_folder/$environment-nodes.conf
line_of() { grep "; # $1\$" "$nginx_site" 2>/dev/null; }
is_given() { case $(line_of "$1") in ''|*" down; # $1") return 1 ;; esac; }
# Whether it does not have the application yet, and was not in the file before with this address.
is_new() {
  is_among "$1" $fresh || return 1
  at=$(address_of "$1")
  case $(line_of "$1") in *" $at; # $1"|*" $at down; # $1") return 1 ;; esac
}
is_ready() { is_given "$1" && answers "$1"; }
shown() { if is_given "$1"; then echo "http://$(address_of "$1")$check_path gave $(answered "$1")"; else echo "$1 is drained"; fi; }
unedited() {
  [ "$(site_state)" != edited ] || explain "$nginx_site on $server was edited by hand since the panel wrote it. Nothing was changed: take the change back, or remove the file; then it is written anew."
}
check_balancer() {
  command -v nginx >/dev/null || explain "nginx is not installed on $server. Install it there: apt-get install nginx"
  command -v pgrep >/dev/null || explain "pgrep is not installed on $server. Install it there: apt-get install procps"
  may_as_root nginx -T && may_as_root systemctl reload nginx && may_as_root systemctl restart nginx || explain "$me may not test and reload nginx on $server. Allow it with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/sbin/nginx -T, /usr/bin/systemctl reload nginx, /usr/bin/systemctl restart nginx"
  if [ ! -d "$nginx_folder" ] || [ ! -f "$nginx_include" ]; then
    may_as_root tee "$nginx_include" && may_as_root install -d -o "$me" "$nginx_folder" || explain "nginx on $server has no folder for the panel's sites yet. Make it once: sudo install -d -o $me $nginx_folder && echo 'include $nginx_folder/*.conf;' | sudo tee $nginx_include"
    as_root install -d -o "$me" "$nginx_folder"
    echo "include $nginx_folder/*.conf;" | as_root tee "$nginx_include" >/dev/null
  fi
  [ -w "$nginx_folder" ] || may_as_root tee "$nginx_site.next" || explain "$nginx_folder on $server cannot be written by $me. Give it the folder: sudo chown $me $nginx_folder"
  said=$(test_nginx) || explain "nginx's configuration on $server is broken, so nothing was changed: $said"
  unedited
  if [ "$port" = 80 ] && elsewhere=$(named_elsewhere | head -n 1) && [ -n "$elsewhere" ]; then
    explain "${elsewhere%% *} is served by ${elsewhere#* } on $server already. Take the name out of that file, or have the balancer listen on another port, in the settings of the strategy."
  fi
}
write_balancer() {
  out=''
  for name in $all; do
    case $(line_of "$name") in
      *" down; # $name") out="$out $name" ;;
      *) ! is_new "$name" || out="$out $name" ;;
    esac
  done
  put_nodes $out
}
warm_up() { :; }
# are_others NAME…: whether the file has none of these servers yet and all are out of the way: then those in it go on.
are_others() {
  [ -f "$nginx_site" ] || return 1
  for name in $all; do is_among "$name" "$@" && is_new "$name" || return 1; done
}
leaving_workers() { pgrep -P "$(cat /run/nginx.pid)" -f '^nginx: worker process is shutting down' || :; }
# put_nodes NAME…: the file with these out of the way; returns when no worker that goes by the one before takes requests.
put_nodes() {
  if are_others "$@"; then echo 'All servers are others than before: those go on until one of these is ready'; return 0; fi
  script=''
  for name in "$@"; do script="$script;s/; # $name\$/ down; # $name/"; done
  wanted=$(printf '%s\n' "$part" | sed "$script")
  old=''
  lock_nginx
  unedited
  rm -f "$run/nodes.before"
  if [ -f "$nginx_site" ]; then
    if [ "$(tail -n +2 "$nginx_site")" = "$wanted" ]; then exec 8<&-; return 0; fi
    cp "$nginx_site" "$run/nodes.before"
  fi
  printf '%s\n' "$wanted" | write_site
  if ! said=$(test_nginx); then
    if [ -f "$run/nodes.before" ]; then nginx_write "$nginx_site" <"$run/nodes.before"; else nginx_remove "$nginx_site"; fi
    explain "nginx on $server refuses the list of servers that it is to balance, so the one before was put back: $said"
  fi
  reload_nginx || explain "nginx on $server does not serve its new configuration: it was told to reload and goes on with the old one. See /var/log/nginx/error.log there."
  exec 8<&-
}
take_out() {
  out="$*"
  for name in $all; do is_given "$name" || out="$out $name"; done
  put_nodes $out
  since=$(uptime_seconds)
  # workers that a reload before this one had sent home may still have requests to these nodes, too
  while leaving=$(leaving_workers); [ -n "$leaving" ]; do
    if [ $(($(uptime_seconds) - since)) -ge "$drain_seconds" ]; then echo "Some requests still last after $drain_seconds s; going on"; return 0; fi
    sleep 0.1
  done
}
put_in() {
  out=''
  for name in $all; do is_given "$name" || is_among "$name" "$@" || out="$out $name"; done
  put_nodes $out
}
"""


def nginx_file(
    *, environment_id: str, nodes: Iterable[tuple[str, str]], port: int, domains: Sequence[str], upload_mb: int = 64
) -> str:
    """What nginx balances by: the nodes, each on a line of its own that ends in its name, and a server for `domains`."""
    name = f"devflow_{environment_id}_nodes"
    connection = f"devflow_{environment_id}_ws"  # a longer name is too long for nginx as it is set up
    servers = "".join(f"    server {address}; # {node}\n" for node, address in nodes)
    names = f"    server_name {' '.join(domains)};\n" if domains else ""
    return f"""\
upstream {name} {{
{servers}    keepalive 32;
}}
map $http_upgrade ${connection} {{ default upgrade; '' ''; }}
server {{
    listen {port};
{names}    client_max_body_size {upload_mb}m;
    location / {{
        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection ${connection};
        proxy_connect_timeout 5s;
        proxy_send_timeout 300s;
        proxy_read_timeout 300s;
    }}
}}
"""


def check(
    *,
    kind: str,
    environment_id: str,
    nodes: Sequence[tuple[str, str]],
    minimum: int,
    drain_seconds: int,
    warm_seconds: int = 0,
    path: str,
    port: int,
    domains: Sequence[str],
    backend: str,
    socket: str,
    fresh: Iterable[str] = (),
    upload_mb: int = 64,
) -> str:
    """Shell text: looks whether the balancer can be used, and keeps the functions for the steps that come later.

    `kind` is nginx or haproxy; `backend` is one that HAProxy has already, '' for one of the panel's own. `fresh` names the
    nodes that do not have the application yet: they get no requests before they are given some.
    """
    host = domains[0] if domains else ""
    settings = {
        "nodes": "\n".join(f"{name} {address}" for name, address in nodes),
        "all": " ".join(name for name, _ in nodes),
        "fresh": " ".join(fresh),
        "minimum": str(minimum),
        "drain_seconds": str(drain_seconds),
        "warm_seconds": str(warm_seconds),
        "check_path": path,
        "check_host": host,
        "port": str(port),
    }
    if kind == "haproxy":
        part = haproxy.part(environment_id=environment_id, nodes=nodes, port=port, path=path, host=host)
        settings |= {"backend": backend or haproxy.backend_of(environment_id), "is_ours": "" if backend else "1"}
        settings |= {"socket": socket, "config": haproxy.CONFIG, "part": part.rstrip("\n")}
        settings |= {"master_socket": haproxy.MASTER_SOCKET}
        settings |= {"lock_seconds": str(haproxy.LOCK_SECONDS), "nginx_folder": nginx.FOLDER}
    else:
        file = nginx_file(environment_id=environment_id, nodes=nodes, port=port, domains=domains, upload_mb=upload_mb)
        settings |= {"nginx_include": nginx.INCLUDE, "part": file.rstrip("\n")}
    given = "".join(f"{name}={quote(value)}\n" for name, value in settings.items())
    functions = given + _COMMON + (haproxy.FUNCTIONS if kind == "haproxy" else nginx.FUNCTIONS + _NGINX)
    return f"""\
cat >"{_FILE}" <<'devflow-functions'
{functions}devflow-functions
. "{_FILE}"
command -v curl >/dev/null || explain "curl is not installed on $server; it asks the servers behind the balancer. Install it there: apt-get install curl"
check_balancer
"""


WRITE = f"""\
. "{_FILE}"
write_balancer
"""


def drain(names: Iterable[str], *, kind: str) -> str:
    """Gives these no requests any more; returns when they have none left."""
    return _call("drain", names, kind)


def give(names: Iterable[str], *, kind: str) -> str:
    """Gives these requests again; returns when the balancer does."""
    return _call("give", names, kind)


def drain_again(names: Iterable[str], *, kind: str) -> str:
    """As `drain`, on the way back: nothing where they were not drained by this deployment."""
    return f'[ -d "$root/.devflow/nodes.$deployment" ] || exit 0\n{_call("drain_again", names, kind)}'


def give_again(names: Iterable[str], *, kind: str) -> str:
    """As `give`, on the way back."""
    return f'[ -d "$root/.devflow/nodes.$deployment" ] || exit 0\n{_call("give_again", names, kind)}'


def _call(function: str, names: Iterable[str], kind: str) -> str:
    way = "find_way explain\n" if kind == "haproxy" else ""
    return f'. "{_FILE}"\n{way}{function} {" ".join(map(quote, names))}\n'


FORGET = f'rm -rf "{_FILE}" "$root/.devflow/nodes.$deployment"\n'
"""What the deployment had kept beside the balancer; also ends what keeps nodes out of HAProxy."""
