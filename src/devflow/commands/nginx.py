"""nginx on a server: one site file for each environment, and beside it the include that says where its traffic goes.

Both are in FOLDER: `<environment>.conf` and `<environment>.upstream`, which only the first one includes, so that a switch
rewrites nothing but that. The first line of each holds the checksum of the rest: a file that was edited by hand is
known by it. In a site file `@upstream@`, `@upstream_file@`, `@php_socket@` and `@listen6@` stand for what is only known on
the server or does not matter for its text; `@domains@` stands for the environment's domains, in an own one too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from devflow.core.shell import quote

FOLDER = "/etc/nginx/devflow.d"
INCLUDE = "/etc/nginx/conf.d/devflow.conf"
LOCK_SECONDS = 120
"""How long another deployment that changes nginx on the same server is waited for."""
UPSTREAM = "@upstream@"
"""Stands for the name of the upstream in a site file of one's own: `proxy_pass http://@upstream@;`"""
DOMAINS = "@domains@"
"""Stands for the environment's domains in a site file of one's own, as they are then: `server_name @domains@;`"""


def log_file(environment_id: str) -> str:
    """The access log of a site."""
    return f"/var/log/nginx/devflow-{environment_id}.access.log"


def site_file(
    *,
    environment_id: str,
    domains: Iterable[str],
    serves: str,
    root: str = "",
    upload_mb: int = 64,
    template: str = "",
) -> str:
    """The text of a site file, without the line that holds its checksum.

    `serves` is `upstream` (something that listens), `php` or `static` (from the folder `root`). A `template` is used
    as it is, with the domains filled in. What is said once for all of nginx has the environment's id in its name.
    """
    if template:
        template = template.replace(DOMAINS, " ".join(domains))
        body = template.replace("\r\n", "\n").rstrip("\n") + "\n"
        return (f"include @upstream_file@;\n{body}" if UPSTREAM in body else body).replace(
            "@environment@", environment_id
        )
    before = _UPSTREAM_HEAD if serves == "upstream" else ""
    inside = {"upstream": _PROXY, "php": _PHP, "static": _STATIC}[serves]
    text = _SITE.replace("@before@", before).replace("@inside@", inside)
    values = {
        "@environment@": environment_id,
        "@short@": environment_id[-12:],
        DOMAINS: " ".join(domains),
        "@root@": _quoted(root),
        "@upload@": str(upload_mb),
        "@log@": log_file(environment_id),
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _quoted(path: str) -> str:
    """A path as nginx reads it."""
    if re.fullmatch(r"[\w./@+-]*", path):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def template_of(text: str, environment_id: str) -> str:
    """A site file as it is on a server, as a template: without what is added to one, and with placeholders."""
    lines = text.splitlines()
    if lines and "Checksum: " in lines[0]:
        lines = lines[1:]
    include = f"include {FOLDER}/{environment_id}.upstream;"
    body = "\n".join(line for line in lines if line.strip() != include).strip()
    return re.sub(rf"//devflow_{environment_id}\b", f"//{UPSTREAM}", body)


def filled_as(text: str, environment_id: str, there: str) -> str:
    """The text with its placeholders filled in as in `there`, a file of a server, for a comparison."""
    socket = re.search(r"fastcgi_pass unix:(\S+);", there)
    values = {
        "@upstream_file@": f"{FOLDER}/{environment_id}.upstream",
        UPSTREAM: f"devflow_{environment_id}",
        "@php_socket@": socket[1] if socket else "@php_socket@",
        "@listen6@": "listen [::]:80;" if "listen [::]:80;" in there else "",
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


_SITE = """\
# $upstream_addr, $upstream_status, $request_time (s) and the time are at the end of each line.
log_format devflow_@environment@ '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" "$upstream_addr" "$upstream_status" $request_time $msec';
@before@server {
    listen 80;
    @listen6@
    server_name @domains@;
    access_log @log@ devflow_@environment@;
    client_max_body_size @upload@m;
@inside@}
"""
# nginx keeps the names of variables in buckets of 64 bytes: the last part of the id has to do.
_UPSTREAM_HEAD = """\
include @upstream_file@;
map $http_upgrade $devflow_@short@_connection {
    default upgrade;
    '' close;
}
"""
# No connections are kept to the application: what is open to it are requests, which draining waits for.
_PROXY = """\
    location / {
        proxy_pass http://@upstream@;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $devflow_@short@_connection;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_connect_timeout 5s;
        proxy_send_timeout 300s;
        proxy_read_timeout 300s;
    }
"""
# The real path: a release is served whole, and no code of another one stays in the opcache.
_PHP = """\
    root @root@;
    index index.php index.html;
    location / {
        try_files $uri $uri/ /index.php$is_args$args;
    }
    location ~ \\.php$ {
        try_files $fastcgi_script_name =404;
        include fastcgi_params;
        fastcgi_pass unix:@php_socket@;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
        fastcgi_read_timeout 300s;
    }
    location ~ /\\.(?!well-known/) {
        deny all;
    }
"""
_STATIC = """\
    root @root@;
    index index.html;
    location / {
        try_files $uri $uri/ $uri.html =404;
    }
    error_page 404 /404.html;
    location ~ /\\.(?!well-known/) {
        deny all;
    }
"""

FUNCTIONS = rf"""
nginx_folder={FOLDER}
nginx_site=$nginx_folder/$environment.conf
nginx_upstream=$nginx_folder/$environment.upstream
nginx_before=$root/.devflow/nginx.$deployment
nginx_adopted=$nginx_folder/$environment.adopted
upstream_name=devflow_$environment
lock_seconds={LOCK_SECONDS}
""" + (
    r"""
me=$(id -un)
PATH=$PATH:/usr/sbin:/sbin
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi; }
may_as_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n -l "$@" >/dev/null 2>&1; }; }
# One at a time changes nginx's files, tests them and reloads: the lock is on the folder, and goes with the process. What is
# started meanwhile and stays must not have it (see start_nginx).
lock_nginx() {
  exec 8<"$nginx_folder"
  if flock -w "$lock_seconds" 8; then return 0; fi
  said="Another process on $server has held the lock of $nginx_folder for $lock_seconds s: a deployment that changes nginx there, or a command that hangs. Nothing was changed. See which: sudo fuser -v $nginx_folder"
  if command -v explain >/dev/null; then explain "$said"; fi
  echo "$said" >&2
  exit 1
}
nginx_write() {
  if [ -w "$nginx_folder" ]; then cat >"$1.next" && mv "$1.next" "$1"
  else as_root tee "$1.next" >/dev/null && as_root mv "$1.next" "$1"
  fi
}
nginx_remove() { if [ -w "$nginx_folder" ]; then rm -f "$@"; else as_root rm -f "$@"; fi; }
# keep_nginx: notes both files as they are now, once, for the way back.
keep_nginx() {
  [ ! -d "$nginx_before" ] || return 0
  rm -rf "$nginx_before.new"; mkdir -p "$nginx_before.new"
  for file in "$nginx_site" "$nginx_upstream"; do if [ -f "$file" ]; then cp "$file" "$nginx_before.new/"; fi; done
  mv "$nginx_before.new" "$nginx_before"
}
# move_file FROM TO: by one rename; what was at TO is kept beside it.
move_file() {
  if [ -w "${1%/*}" ] && [ -w "${2%/*}" ]; then mv -T --backup=numbered "$1" "$2"
  else as_root mv -T --backup=numbered "$1" "$2"
  fi
}
may_move() { { [ -w "${1%/*}" ] && [ -w "${2%/*}" ]; } || may_as_root mv -T --backup=numbered "$1" "$2"; }
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
# look_at_adopted: the file that is to go out of nginx, which CHECK noted, is still as the panel saw it.
look_at_adopted() {
  adopted='' adopted_sum=''
  if [ -s "$run/adopts" ]; then read -r adopted_sum adopted <"$run/adopts"; fi
  if [ -z "$adopted" ] || [ ! -e "$adopted" ]; then adopted=''; return 0; fi
  [ "$(sum_of "$adopted")" = "$adopted_sum" ] || explain "$adopted on $server was changed since the panel read it. Nothing was changed: read the servers again on the page Proxy of the environment, and adopt the file as it is now."
}
# take_adopted: that file goes out of nginx, which is noted first, for the way back.
take_adopted() {
  [ -n "$adopted" ] || return 0
  printf '%s\n' "$adopted" >"$nginx_before/adopted.new"; mv "$nginx_before/adopted.new" "$nginx_before/adopted"
  target=''
  if [ -L "$adopted" ]; then target=" (a link to $(readlink -f "$adopted"), which stays)"; fi
  move_file "$adopted" "$nginx_adopted" || { put_back_nginx >/dev/null; explain "$adopted could not be taken out of nginx on $server; it is as it was."; }
  echo "$adopted$target is out of nginx now; it is kept as $nginx_adopted"
}
forget_nginx() { rm -rf "$nginx_before" "$nginx_before.new"; }
# write_upstream SERVER…: each as nginx takes it after `server`, like '127.0.0.1:21000 weight=5'.
write_upstream() {
  { printf 'upstream %s {\n' "$upstream_name"; printf '    server %s;\n' "$@"; echo '}'; } | with_sum "$nginx_upstream"
}
# with_sum FILE: the text on standard input, below a line with its checksum.
with_sum() {
  text=$(cat; echo .)
  text=${text%.}
  sum=$(printf %s "$text" | sha256sum)
  printf '# Kept by DevFlow for %s, which says what is in here. Checksum: %s\n%s' "$site" "${sum%% *}" "$text" | nginx_write "$1"
}
is_as_written() { sum=$(tail -n +2 "$1" | sha256sum); case $(head -n 1 "$1") in *"Checksum: ${sum%% *}") ;; *) return 1 ;; esac; }
upstream_servers() { sed -n 's/^ *server \(.*\);$/\1/p' "$nginx_upstream" 2>/dev/null || :; }
php_socket() {
  for socket in "/run/php/php${option_php_version:-}-fpm.sock" /run/php/php-fpm.sock /run/php/php*-fpm.sock; do
    if [ -S "$socket" ]; then echo "$socket"; return 0; fi
  done
  echo "/run/php/php${option_php_version:-}-fpm.sock"
}
# write_site: the text on standard input, with what is only known here.
write_site() {
  listen6='listen [::]:80;'
  [ -e /proc/net/if_inet6 ] || listen6=''
  sed -e "s|@upstream_file@|$nginx_upstream|g" -e "s|@upstream@|$upstream_name|g" -e "s|@php_socket@|$(php_socket)|g" -e "s|@listen6@|$listen6|g" | with_sum "$nginx_site"
}
# site_state: absent, ours, edited. Where the traffic goes is looked at too, if the site file includes that.
site_state() {
  [ -f "$nginx_site" ] || { echo absent; return 0; }
  if is_as_written "$nginx_site" && upstream_is_ours; then echo ours; else echo edited; fi
}
includes_upstream() { [ -f "$nginx_upstream" ] && grep -qF "$nginx_upstream" "$nginx_site"; }
upstream_is_ours() { if includes_upstream; then is_as_written "$nginx_upstream"; fi; }
# site_sum: of both files as they are.
site_sum() {
  if includes_upstream; then cat "$nginx_site" "$nginx_upstream"; else cat "$nginx_site"; fi | sha256sum | cut -d ' ' -f 1
}
# test_nginx: nginx's own message, and failure, where the files as they are cannot be used.
test_nginx() {
  if as_root nginx -T >/dev/null 2>"$run/nginx.said"; then return 0; fi
  grep -v '^nginx: configuration file .* test failed' "$run/nginx.said" | tail -n 3 | tr '\n' ' '
  return 1
}
# nginx_runs: sets master.
nginx_runs() {
  master=''
  if [ -s /run/nginx.pid ]; then read -r master </run/nginx.pid; fi
  if [ -z "$master" ] && [ -d /run/systemd/system ]; then
    master=$(systemctl show --property=MainPID --value nginx 2>/dev/null) || master=''
  fi
  [ "${master:-0}" != 0 ] && grep -qas nginx "/proc/$master/cmdline"
}
nginx_workers() { pgrep -P "$master" -f '^nginx: worker process$' || [ $? = 1 ]; }
nginx_told() { if [ -d /run/systemd/system ]; then as_root systemctl reload nginx; else as_root nginx -s reload 2>/dev/null; fi; }
# reload_nginx: returns when none of the workers that were there takes a request any more: what is in the files serves then.
# What runs is never restarted: that would cut every connection.
reload_nginx() {
  if ! nginx_runs; then start_nginx; return; fi
  old=$(nginx_workers) || return 1
  if ! nginx_told && ! nginx_told; then
    if nginx_runs; then return 1; fi
    start_nginx; return
  fi
  tries=200
  for worker in $old; do
    while [ "$(tr -d '\0' 2>/dev/null <"/proc/$worker/cmdline")" = 'nginx: worker process' ]; do
      tries=$((tries - 1))
      if [ "$tries" = 0 ]; then echo "nginx was told to reload, and did not within 10 s. See its log: /var/log/nginx/error.log"; return 1; fi
      sleep 0.05
    done
  done
}
start_nginx() {
  echo 'nginx does not run: it is started'
  if [ -d /run/systemd/system ]; then as_root systemctl restart nginx; else (unset DEVFLOW_RUN; as_root nginx 8>&-); fi  # not of this run: it stays, without the lock
}
# put_back_nginx: both files as keep_nginx found them, and one that was adopted, and nginx serves them again.
put_back_nginx() {
  [ -d "$nginx_before" ] || return 0
  for file in "$nginx_site" "$nginx_upstream"; do
    kept=$nginx_before/${file##*/}
    if [ -f "$kept" ]; then cmp -s "$kept" "$file" || nginx_write "$file" <"$kept"
    elif [ -f "$file" ]; then nginx_remove "$file"
    fi
  done
  if [ -s "$nginx_before/adopted" ]; then
    read -r adopted <"$nginx_before/adopted"
    if [ ! -e "$adopted" ] && [ ! -L "$adopted" ]; then move_file "$nginx_adopted" "$adopted"; fi
  fi
  if test_nginx; then reload_nginx; else echo 'nginx was not reloaded: it goes on with what it had'; fi
}
# accepted WHAT: whether a person let the panel replace that of this server: a checksum, or a checksum and a file.
accepted() { printf '%s\n' "$proxy_accepted" | grep -qxF -e "$server $1"; }
# accepted_before FILE: whether that was so of this file, as it was when the panel read it.
accepted_before() {
  printf '%s\n' "$proxy_accepted" | awk -v server="$server" -v file="$1" '
    $1 == server && substr($0, length($1 $2) + 3) == file { found = 1 } END { exit !found }'
}
# named_elsewhere: prints `<domain> <file>` of each of $domains that another site file names.
named_elsewhere() {
  as_root nginx -T 2>/dev/null | awk -v own="$nginx_site" -v wanted="$domains" '
    BEGIN { n = split(wanted, list, " "); for (i = 1; i <= n; i++) mine[tolower(list[i])] = 1 }
    /^# configuration file .*:$/ { file = substr($0, 22, length($0) - 22); inside = 0; next }
    file == own { next }
    {
      sub(/#.*/, ""); gsub(/[{};]/, " & ")
      for (i = 1; i <= NF; i++) {
        if ($i == "server_name") inside = 1
        else if ($i == ";") inside = 0
        else if (inside && tolower($i) in mine) print $i, file
      }
    }' | sort -u
}
"""
)

CHECK = (
    FUNCTIONS
    + rf"""
command -v nginx >/dev/null || explain "nginx is not installed on $server. Install it there: apt-get install nginx"
command -v pgrep >/dev/null || explain "pgrep is not installed on $server. Install it there: apt-get install procps"
may_as_root nginx -T || explain "$me may not test nginx's configuration on $server. Allow it with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/sbin/nginx -T, /usr/bin/systemctl reload nginx, /usr/bin/systemctl restart nginx"
if [ -d /run/systemd/system ]; then
  may_as_root systemctl reload nginx && may_as_root systemctl restart nginx || explain "$me may not reload nginx on $server. Allow it with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/sbin/nginx -T, /usr/bin/systemctl reload nginx, /usr/bin/systemctl restart nginx"
fi
if [ ! -d "$nginx_folder" ] || [ ! -f {INCLUDE} ]; then
  may_as_root tee {INCLUDE} && may_as_root install -d -o "$me" "$nginx_folder" || explain "nginx on $server has no folder for the panel's sites yet. Make it once: sudo install -d -o $me $nginx_folder && echo 'include $nginx_folder/*.conf;' | sudo tee {INCLUDE}"
  as_root install -d -o "$me" "$nginx_folder"
  echo "include $nginx_folder/*.conf;" | as_root tee {INCLUDE} >/dev/null
fi
[ -w "$nginx_folder" ] || may_as_root tee "$nginx_site.next" || explain "$nginx_folder on $server cannot be written by $me. Give it the folder: sudo chown $me $nginx_folder"
said=$(test_nginx) || explain "nginx's configuration on $server is broken, so nothing was changed: $said"
"""
    + r"""
rm -f "$run/adopts"
named_elsewhere >"$run/elsewhere"
while read -r name file; do
  if [ "$(head -n 1 "$run/adopts" 2>/dev/null | cut -d ' ' -f 2-)" = "$file" ]; then continue; fi
  if [ -r "$file" ] && accepted "$(sum_of "$file") $file" && [ ! -e "$run/adopts" ]; then
    may_move "$file" "$nginx_adopted" && may_move "$nginx_adopted" "$file" || explain "$me may not take $file out of nginx on $server, nor put it back. Allow both with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/bin/mv -T --backup=numbered $file $nginx_adopted, /usr/bin/mv -T --backup=numbered $nginx_adopted $file"
    printf '%s %s\n' "$(sum_of "$file")" "$file" >"$run/adopts"
    continue
  fi
  ! accepted_before "$file" || explain "$file on $server was changed since the panel read it. Nothing was changed: read the servers again on the page Proxy of the environment, and adopt the file as it is now."
  explain "$name is served by $file on $server already; $nginx_site would be the second. Adopt that file on the page Proxy of the environment (devflow proxy check, then adopt): the deployment then takes its place without a request lost. Or take the name out of it."
done <"$run/elsewhere"
if [ "$(site_state)" = edited ]; then
  if accepted "$(site_sum)"; then echo "$nginx_site was edited by hand; it is replaced as wanted"
  else
    edited=$nginx_site
    if is_as_written "$nginx_site"; then edited=$nginx_upstream; fi
    explain "$edited on $server was edited by hand since the panel wrote it. Nothing was changed: compare it on the page Proxy of the environment, and take it over or replace it there."
  fi
fi
"""
)
"""Whether nginx is there, may be used, and is in order; makes the panel's folder where it may. Touches no site."""

READ = (
    """\
root=$1; environment=$2; domains=$3; deployment=check; server=here; run=$(mktemp -d); trap 'rm -rf "$run"' EXIT
explain() { echo "problem $*"; exit 0; }
"""
    + FUNCTIONS
    + r"""
command -v nginx >/dev/null || explain "nginx is not installed."
packed() { head -c 262144 "$1" | base64 | tr -d '\n'; echo; }
echo "state $(site_state)"
if [ -f "$nginx_site" ]; then
  echo "sum $(site_sum)"
  printf 'text '; packed "$nginx_site"
  if ! upstream_is_ours; then printf 'upstream '; packed "$nginx_upstream"; fi
fi
[ -n "$domains" ] || exit 0
named_elsewhere | sed 's/^[^ ]* //' | sort -u | while read -r file; do
  case $file in "$nginx_folder"/*) continue ;; esac
  printf 'foreign %s ' "$(printf %s "$file" | base64 | tr -d '\n')"
  if [ -r "$file" ]; then printf '%s ' "$(sum_of "$file")"; packed "$file"; else echo '- -'; fi
done
"""
)
"""With a site's folder, the environment's id and its domains as `$1` to `$3`: the state of its site file, and its text in
base64 (and of the upstream, where that was edited); then each other file that serves one of the domains."""


def install(text: str, *, servers: str = "") -> str:
    """Shell text that puts the site file (and, with shell words `servers`, the upstream) in place, tested, and has nginx
    serve it. Where nginx refuses, all is put back and nothing was reloaded. Uses FUNCTIONS."""
    upstream = f"write_upstream {servers}\n" if servers else ""
    return f"""\
lock_nginx
look_at_adopted
keep_nginx
{upstream}printf %s {quote(text)} | write_site
take_adopted
if ! said=$(test_nginx); then
  put_back_nginx >/dev/null
  explain "nginx on $server refuses the site file of this environment, so it was put back: $said"
fi
"""


RELOAD = """\
reload_nginx || explain "nginx on $server does not serve the new configuration: it was told to reload and goes on with the old one. See /var/log/nginx/error.log there."
"""
