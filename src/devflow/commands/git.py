"""Getting a commit onto a server: a bare mirror per repository, fetched, then laid out without its history."""

from __future__ import annotations

from collections.abc import Iterable

from devflow.core.shell import quote

SILENT_SECONDS = 60
"""A host that has not sent a byte for so long is given up: all others who want the repository on this server wait for it."""

_ACCESS = f"""\
GIT_SSH_COMMAND=${{GIT_SSH_COMMAND:-$(git config core.sshCommand 2>/dev/null || echo ssh)}}
if [ -n "$deploy_key" ]; then
  ( umask 077; printf '%s' "$deploy_key" >"$run/deploy_key" )
  GIT_SSH_COMMAND="ssh -i '$run/deploy_key' -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=15"
  GIT_SSH_COMMAND="$GIT_SSH_COMMAND -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile='$devflow/known_hosts'"
fi
GIT_SSH_COMMAND="$GIT_SSH_COMMAND -o ServerAliveInterval={SILENT_SECONDS // 4} -o ServerAliveCountMax=4"
GIT_HTTP_LOW_SPEED_LIMIT=1 GIT_HTTP_LOW_SPEED_TIME={SILENT_SECONDS}
export GIT_SSH_COMMAND GIT_HTTP_LOW_SPEED_LIMIT GIT_HTTP_LOW_SPEED_TIME
export GIT_TERMINAL_PROMPT=0 LC_ALL=C
"""
"""How git reaches the repository, for each step that does: a step is a process of its own. ssh wants the key 0600."""

_MIRROR = """\
in_mirror() { git -c 'safe.directory=*' --git-dir="$mirror" "$@"; }
"""

_FETCH = """\
case $repository in
  /*|file://*)
    path=${repository#file://}
    [ -d "$path" ] || explain "There is no repository $path on $server. A local path is looked for on the server itself: give an https or ssh address, or put the repository there." ;;
esac
if [ ! -d "$mirror" ]; then
  mkdir -p "$devflow/repos"
  git init -q --bare "$mirror.$$"
  git --git-dir="$mirror.$$" config gc.auto 0
  git --git-dir="$mirror.$$" config maintenance.auto false
  mv -T "$mirror.$$" "$mirror" 2>/dev/null || rm -rf "$mirror.$$"  # another deployment was a moment faster
fi
show() {
  in_mirror log -1 --no-show-signature --encoding=UTF-8 --format=%H%x09%an%x20%x3c%ae%x3e%x09%s "$1" -- 2>/dev/null
}
alone() { exec 8>>"$mirror/devflow.lock"; flock 8; rm -f "$mirror/refs/devflow/$branch.lock"; }  # of a git that was killed
# is_whole COMMIT: all of it is here, not only what a git that was killed, or still fetches, has written of it so far.
is_whole() {
  tip=''
  if [ -s "$mirror/refs/devflow/$branch" ]; then read -r tip <"$mirror/refs/devflow/$branch"; fi
  [ "$tip" = "$1" ] || in_mirror rev-list --objects --quiet "$1" --not --all -- 2>/dev/null
}
fetch_branch() { in_mirror fetch -q --no-tags --force "$repository" "+refs/heads/$branch:refs/devflow/$branch" 2>"$run/fetch"; }
# fetch_anew: the branch, after a fetch that failed, into a mirror without the objects that a server without power has lost.
fetch_anew() {
  grep -qE 'corrupt|is empty|bad object|missing|did not send all necessary|unable to (read|unpack|parse)' "$run/fetch" || return 1
  echo "The copy of the repository on $server is damaged; it is fetched anew"
  rm -rf "$mirror/refs/devflow" "$mirror/objects"
  mkdir "$mirror/objects"
  fetch_branch
}
not_fetched() {
  reason=$(cat "$run/fetch"); printf '%s\\n' "$reason"
  case $reason in
    *"couldn't find remote ref"*) explain "The repository has no branch '$branch' (an empty repository has none at all). Push the branch, or set another one for this environment." ;;
    *"dubious ownership"*)
      theirs=$(sed -n "s/.*dubious ownership in repository at '\\(.*\\)'$/\\1/p" "$run/fetch" | head -n 1)
      case $repository in /*|file://*) reader="$(id -un) on $server" ;; *) reader="the user that $server logs in as there" ;; esac
      explain "git refuses to read ${theirs:-$repository}: it belongs to another user than $reader. Give it to that user (chown -R), or have that user trust it: git config --global --add safe.directory ${theirs:-$repository}" ;;
    *"Permission denied"*|*"could not read Username"*|*"Authentication failed"*|*"publickey"*) explain "The repository refused $server. Add the project's deploy key to the repository (read access is enough), or check its address." ;;
    *"not found"*|*"does not exist"*|*"does not appear to be a git repository"*) explain "There is no git repository at $repository, as $server sees it. Check the address and the deploy key." ;;
    *"No space left"*|*"Disk quota"*) explain "The disk of $server is full: $(df -Pk "$devflow" | tail -n 1). Free some space and deploy again." ;;
    *"Could not resolve host"*|*"timed out"*|*"Connection refused"*|*"No route to host"*|*"Failed to connect"*|*"Could not connect"*|*"not responding"*|*"too slow"*) explain "$server cannot reach the repository's host. Check DNS and firewall on the server, and the address." ;;
    *)
      # git's last words are its advice ("… and the repository exists."), which is the same for many reasons
      why=$(grep -aiE '^(remote: )?(fatal|error): ' "$run/fetch" | head -n 1) || why=''
      explain "git could not fetch '$branch' from $repository: ${why:-$(printf '%s' "$reason" | tail -n 1)}" ;;
  esac
}
# fetch_commit: one that the branch did not have. Over a plain sshd git gives nothing but heads (protocol 0), so one that
# was the head when another server asked, and is not any more, comes with the branch.
fetch_commit() {
  in_mirror fetch -q --no-tags "$repository" "$commit" 2>"$run/fetch" && return
  case $(cat "$run/fetch") in
    *"not our ref"*|*"unadvertised object"*|*"couldn't find remote ref"*) ;;
    *) not_fetched ;;
  esac
  fetch_branch || not_fetched
  is_whole "$commit" || explain "There is no commit $commit in the repository. Push it first, or choose another."
}
shown=''
if [ -n "$commit" ] && is_whole "$commit"; then shown=$(show "$commit") || shown=''; fi
if [ -z "$shown" ]; then
  alone
  fetch_branch || fetch_anew || not_fetched
  exec 8>&-
  if [ -z "$commit" ] && [ "$leads" = 0 ]; then told_commit; fi
  shown=''
  if [ -z "$commit" ] || is_whole "$commit"; then shown=$(show "${commit:-refs/devflow/$branch}") || shown=''; fi
  if [ -z "$shown" ]; then
    [ -n "$commit" ] || explain "git cannot read the head of $branch."
    alone
    fetch_commit
    exec 8>&-
    shown=$(show "$commit") || explain "git cannot read the commit $commit."
  fi
fi
note commit "$shown"
commit=${shown%%"	"*}
printf '%s\\n' "$commit" >"$run/commit"
echo "Commit $commit from $branch"
"""

_CHECKOUT = """\
[ ! -s "$run/commit" ] || read -r commit <"$run/commit"
[ -d "$root/releases" ] || mkdir -p "$root/releases"
if [ -e "$path" ]; then rm -rf "$path"; fi
{ mkdir -p "$root/.devflow" && printf '%s\\n' "$release" >"$root/.devflow/making.$deployment" && mkdir "$path"; } || explain "The release cannot be made in $root/releases on $server: disk full, read-only, or another owner."
if ! { in_mirror archive --format=tar "$commit" || echo failed >"$run/archive"; } | tar -x -C "$path" || [ -e "$run/archive" ]; then
  full=$(df -Pk "$root" | tail -n 1)
  explain "The files of the commit could not be written to $path on $server (see the output above). Disk: $full"
fi
if [ -f "$path/.gitattributes" ] && grep -q 'filter=lfs' "$path/.gitattributes"; then
  command -v git-lfs >/dev/null || explain "The repository keeps files in Git LFS, and $server has no git-lfs. Install it there: apt-get install git-lfs"
  whole=1
fi
if [ -f "$path/.gitmodules" ] || [ -n "${whole:-}" ]; then
  rm -rf "$path"
  git clone -q --shared --no-checkout "$mirror" "$path" && cd "$path" && git remote set-url origin "$repository"
  git checkout -q --detach "$commit" || explain "The files of the commit could not be checked out on $server (see the output above)."
  if [ -f .gitmodules ]; then
    case $repository in /*|file://*) files=always ;; *) files=user ;; esac  # its parts may lie beside it
    git -c "protocol.file.allow=$files" submodule --quiet update --init --recursive --depth 1 || explain "A submodule could not be fetched by $server (see the output above). Give the deploy key read access to it too, or use relative addresses in .gitmodules."
  fi
  find . -name .git -prune -exec rm -rf {} +
fi
printf '%s\\n' "$commit" >"$path/REVISION"
"""

_LIST = """\
read -r commit <"$run/commit"
in_mirror ls-tree --name-only "$commit" >"$run/files"
head -n 500 "$run/files" | while IFS= read -r file; do note file "$file"; done
in_mirror ls-tree -l "$commit" -- $watched >"$run/watched"
while read -r mode _ object size file; do
  case $mode in 100*) ;; *) continue ;; esac
  if [ "$size" -gt "$largest" ]; then note left_out "$file"; continue; fi
  note content "$file "
  in_mirror cat-file blob "$object" | base64 -w 12000 | while read -r part; do note content "$file $part"; done
done <"$run/watched"
"""

FETCH = _ACCESS + _MIRROR + _FETCH
"""Brings the commit into the mirror and says which it is; `$run/commit` holds it for the steps that follow."""

CHECKOUT = _ACCESS + _MIRROR + _CHECKOUT
"""Lays the commit out as the release's folder, with submodules and large files where it has any."""


def list_files(watched: Iterable[str], largest: int) -> str:
    """Notes the names at the top of the commit's tree, and what is in those of `watched` that have at most `largest`
    bytes: in base64, in parts that are shorter than the longest line of a journal. Links are left out."""
    return f"watched={quote(' '.join(watched))}\nlargest={largest}\n{_MIRROR}{_LIST}"
