"""The lock of a site on its server: panels and people respect it, whoever they log in as.

The lock is the file `<root>/.devflow/lock`, one line `<environment id> <deployment id> <panel's words>`; it is read and
written under flock(2) on a file beside it. It outlives a run, since a deployment may be several.
"""

from __future__ import annotations

TAKE = """\
[ -d "$root/.devflow" ] || mkdir -p "$root/.devflow" 2>/dev/null || explain "The folder $root cannot be made or written on $server by $(id -un). Make it once: sudo install -d -o $(id -un) $root"
true >>"$root/.devflow/lock.mutex" || explain "$root/.devflow cannot be written on $server by $(id -un): disk full, read-only, or another owner."
exec 9>>"$root/.devflow/lock.mutex"
flock 9
held=''; holder=''
[ -s "$root/.devflow/lock" ] && read -r held holder <"$root/.devflow/lock"
if [ -n "$held" ] && [ "$held" != "$environment" ]; then
  explain "$root on $server is locked by another deployment: $holder. Two environments or panels must not share a folder; when that one is gone for good, run on the server: ~/.devflow/bin/devflow-run unlock $root"
fi
printf '%s %s %s\\n' "$environment" "$deployment" "$site" >"$root/.devflow/lock" || explain "The lock in $root on $server cannot be written: is the disk full?"
"""

RELEASE = """\
set -- "$root/.devflow/before.$deployment" "$root/.devflow/traffic.$deployment" "$root/.devflow/nginx.$deployment"
set -- "$@" "$devflow/runs/$deployment"-*/docker
if [ -s "$root/.devflow/lock" ]; then
  read -r held by rest <"$root/.devflow/lock"
  if [ "$by" = "$deployment" ]; then set -- "$@" "$root/.devflow/lock"; fi
fi
rm -rf "$@"
"""
"""With it goes what the deployment had noted to be able to go back, and logins to registries of a run that was killed."""
