"""The lock of a site on its server: panels and people respect it, whoever they log in as.

The lock is the file `<root>/.devflow/lock`, one line `<environment id> <deployment id> <panel's words>`; it is read and
written under flock(2) on a file beside it. It outlives a run, since a deployment may be several.

A release that is being made has a mark, the file `<root>/.devflow/making.<deployment>` with its name (commands/git.py), until
the lock is given back. Where it serves and could not be taken back, the mark stays as long as it does.

Whose the folder is stands in `<root>/.devflow/owner`: the id of the environment that took it first, as long as it has a
release there. Panels refuse what they know of; this is for what they do not know: other panels, another name of the host.
"""

from __future__ import annotations

OWNED = """\
owner=''
[ ! -s "$root/.devflow/owner" ] || read -r owner _ <"$root/.devflow/owner" || :
if [ -n "$owner" ] && [ "$owner" != "$environment" ]; then
  explain "$root on $server is another environment's folder: $owner, of this panel or another, deploys there, and not $environment. Choose another folder. When that environment is gone for good, or has moved, run on the server: rm $root/.devflow/owner"
fi
above=$root
case $root in "$devflow"/sites/*) above='' ;; esac
if [ -n "$owner" ] || [ -L "$root/current" ]; then above=''; fi
while above=${above%/*}; [ -n "$above" ]; do
  [ -s "$above/.devflow/owner" ] && read -r by _ <"$above/.devflow/owner" && [ "$by" != "$environment" ] || continue
  explain "$root on $server lies in $above, which is another environment's folder: $by deploys there. Choose a folder outside of it. When that environment is gone for good, or has moved, run on the server: rm $above/.devflow/owner"
done
"""
"""Refuses another environment's folder, and one inside of it that nothing is deployed to yet."""

TAKE = (
    """\
[ -d "$root/.devflow" ] || mkdir -p "$root/.devflow" 2>/dev/null || explain "The folder $root cannot be made or written on $server by $(id -un). Make it once: sudo install -d -o $(id -un) $root"
true >>"$root/.devflow/lock.mutex" || explain "$root/.devflow cannot be written on $server by $(id -un): disk full, read-only, or another owner."
exec 9>>"$root/.devflow/lock.mutex"
flock 9
held=''; holder=''
[ -s "$root/.devflow/lock" ] && read -r held holder <"$root/.devflow/lock"
if [ -n "$held" ] && [ "$held" != "$environment" ]; then
  explain "$root on $server is locked by another deployment: $holder. Two environments or panels must not share a folder; when that one is gone for good, run on the server: ~/.devflow/bin/devflow-run unlock $root"
fi
"""
    + OWNED
    + """\
for left in "$devflow"/runs/*-1-forward; do
  if [ -s "$left/rc" ] || [ "$left" = "$run" ] || ! grep -qsx "environment=$environment" "$left/script"; then continue; fi
  state=$(sh "$devflow/bin/devflow-run" status "${left##*/}" 9>&- 2>/dev/null) || state=''
  said=$(sh "$devflow/bin/devflow-run" kill "${left##*/}" "$deployment" 9>&- 2>&1) || explain "An earlier deployment still runs on $server and cannot be ended: $said"
  by=${left##*/}
  case $state in running*) echo "Ended what still ran of the deployment ${by%%-*}" ;; esac
done
# forget DEPLOYMENT [MARK]: what it noted, but for the mark.
forget() {
  rm -rf "$root/current.next.$1" "$root/shared/.env.next.$1"
  for noted in "$root/.devflow"/*."$1"; do [ "$noted" = "${2:-}" ] || rm -rf "$noted"; done
}
serves() {
  [ "$root/releases/$1" -ef "$root/current" ] || cat "$root/.devflow/live" "$root/.devflow/standby" 2>/dev/null | grep -q " $1$"
}
for left in "$root"/.devflow/making.*; do
  by=${left##*.}
  [ -s "$left" ] && [ "$by" != "$deployment" ] && read -r unfinished <"$left" || continue
  case $unfinished in ''|.*|*/*) continue ;; esac
  if serves "$unfinished"; then forget "$by" "$left"; continue; fi
  if [ -d "$root/releases/$unfinished" ] && [ ! -f "$root/.devflow/traffic.$by" ]; then
    rm -rf "$root/releases/$unfinished" || { echo "Some files of the release $unfinished, which was never finished, cannot be removed."; continue; }
    rm -rf "$root/shared/.env.d/$unfinished" "$root/shared/.env.d/$unfinished.files"
    echo "Removed the release $unfinished, which was never finished"
  fi
  forget "$by"
done
case ${holder%% *} in ''|"$deployment"|*[!a-zA-Z0-9-]*) ;; *) [ -e "$root/.devflow/making.${holder%% *}" ] || forget "${holder%% *}" ;; esac
printf '%s %s %s\\n' "$environment" "$deployment" "$site" >"$root/.devflow/lock" || explain "The lock in $root on $server cannot be written: is the disk full?"
if [ -z "$owner" ]; then
  { printf '%s\\n' "$environment" >"$root/.devflow/owner.next" && mv -f "$root/.devflow/owner.next" "$root/.devflow/owner"; } || explain "$root/.devflow/owner cannot be written on $server: is the disk full?"
fi
"""
)
"""A folder without an owner, new or of a deployment by an earlier version, is this environment's from now on. An environment
has one deployment at a time: what still runs of another was left behind when the server did not answer the panel any more,
and is ended now, and what it had not finished removed. A release that serves all the same stays until another one does, with its
mark: nobody goes back to it. One that was given traffic of its own stays, too: it may get requests still, and is pruned as
others are."""

RELEASE = """\
set -- "$root/.devflow/before.$deployment" "$root/.devflow/traffic.$deployment" "$root/.devflow/nginx.$deployment"
set -- "$@" "$root/.devflow/making.$deployment"
set -- "$@" "$devflow/runs/$deployment"-*/docker
if [ -s "$root/.devflow/lock" ]; then
  read -r held by rest <"$root/.devflow/lock"
  if [ "$by" = "$deployment" ]; then
    [ -L "$root/current" ] || set -- "$@" "$root/.devflow/owner"
    set -- "$@" "$root/.devflow/lock"
  fi
fi
rm -rf "$@"
"""
"""With it goes what the deployment had noted to be able to go back, and logins to registries of a run that was killed; and
the mark of the owner where nothing is deployed: a first deployment that failed keeps no folder."""
