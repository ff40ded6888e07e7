"""What a task has made, kept on the server for later releases: dependencies and built files.

`<root>/.devflow/kept/<key>/` holds what a task made (`files`), the release that it was made for, and the sizes of its
files, by which a part of it is told from the whole. `<root>/.devflow/uses/<release>` holds the keys of a release. A release
gets a copy: by reflink where the file system can, else byte by byte, never by hard links, so that nothing that is
written in one release is seen in another. Who holds the site's lock is alone with both folders.
"""

from __future__ import annotations

from collections.abc import Iterable

from devflow.core.shell import quote

SPARE_MB = 100
"""Free space that keeping something must leave, beside that for another release with the same."""

FUNCTIONS = (
    r"""
kept=$root/.devflow/kept
uses=$root/.devflow/uses

# The folders that the task makes, as far as they are there, each ended by a NUL.
reuse_places() (
  set -f
  for folder in $reuse_folders; do
    case $folder in
      '**/'*) find . \( -path ./vendor -o -path ./.venv \) -prune -o -type d -name "${folder#??/}" -print0 -prune ;;
      *) if [ -d "./$folder" ]; then printf './%s\0' "$folder"; fi ;;
    esac
  done
)

# A folder that is linked from elsewhere belongs to no release.
reuse_is_own() (
  set -f
  for folder in $reuse_folders; do
    case $folder in '**/'*) folder=${folder#??/} ;; esac
    if [ -L "./$folder" ]; then exit 1; fi
  done
)

# Content, names, links and executability of these files and folders; without any, of everything in the release.
reuse_digest() {
  [ "$#" -gt 0 ] || set -- .
  for place in "$@"; do
    if [ "$place" != . ]; then place=./$place; fi  # -path compares with what find is given
    printf '%s\n' "$place"
    [ -e "$place" ] || continue
    find "$place" \( $made \) -prune -o \( -type f -o -type l \) -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum -- 2>/dev/null
    find "$place" \( $made \) -prune -o -type f -perm -100 -print | LC_ALL=C sort
    find "$place" \( $made \) -prune -o -type l ! -lname "$root/shared/*" -printf '%p %l\n' | LC_ALL=C sort
  done
}

# All that decides, as one hash. What a build makes also depends on what the tasks before it have made.
reuse_key() {
  {
    set +e  # what is not there counts as missing
    printf '%s\n' 'kept 1' "$reuse_text" "$root"
    uname -sm
    cat /etc/os-release
    dotenv
    cat .env .env.local .env.production .env.production.local "$root/shared/.env.d/$release.files"/*
    reuse_tools
    reuse_inputs
    reuse_places | xargs -0 -r sh -c 'find "$@" -type f -print0' sh | LC_ALL=C sort -z | xargs -0 -r sha256sum --
    if [ -z "$reuse_folders" ]; then cat "$uses/$release"; fi
  } 2>/dev/null | LC_ALL=C sed "s/$release/<release>/g" | sha256sum | cut -d ' ' -f 1
}

reuse_uses() { ( umask 077; mkdir -p "$uses" && printf '%s\n' "$1" >>"$uses/$release" ) || :; }

# By size, not by content: it need only be seen whether the machine went down before the files had reached the disk.
reuse_sum() { (cd "$1" && find . ! -type d -printf '%s %p\n' | LC_ALL=C sort | sha256sum); }

# A few things (the scripts of a virtual environment) hold the path of the release that they were made for. The names
# of releases are equally long, so that this is done in any file; Python corrects .pyc files itself.
reuse_rename() {
  LC_ALL=C xargs -0 -r sed -i "s/$1/$release/g" <"$entry/named" || return 1
  xargs -0 -r sh -c 'from=$1; to=$2; shift 2
    for link; do ln -sfn "$(readlink "$link" | sed "s/$from/$to/g")" "$link" || exit 1; done' sh "$1" "$release" <"$entry/links"
}

reuse_bring() {
  from=''; read -r from <"$entry/release" && [ "${#from}" -eq "${#release}" ] || return 1
  if [ "$(reuse_sum "$entry/files")" != "$(cat "$entry/sum")" ]; then
    echo "What is kept of '$reuse_name' is damaged."
    return 1
  fi
  reuse_places | xargs -0 -r rm -rf -- || return 1
  xargs -0 -r rm -rf -- <"$entry/gone" || return 1
  find "$entry/files" -mindepth 1 -maxdepth 1 -exec cp -a --reflink=auto --remove-destination -t . -- {} + || return 1
  reuse_rename "$from"
}

reuse_changes() { find . -path '*/node_modules/.cache' -prune -o "$@" -print0; }

# What the task made comes under its final name when it is whole, in one rename.
reuse_keep() {
  ( umask 077; mkdir -p "$kept" ) && mkdir "$new" "$new/files" && : >"$new/gone" || return 1
  if [ -n "$reuse_folders" ]; then reuse_places >"$new/places" || return 1
  else
    reuse_changes -cnewer "$run/reuse.mark" \( ! -type d -o -empty \) >"$new/places" || return 1
    reuse_changes | LC_ALL=C sort -z >"$run/reuse.after" || return 1
    LC_ALL=C comm -z -23 "$run/reuse.before" "$run/reuse.after" >"$new/gone" || return 1
  fi
  if [ ! -s "$new/places" ]; then rm -rf "$new"; return 0; fi
  size=$(du -sck --files0-from="$new/places" | tail -n 1 | cut -f 1)
  free=$(df -Pk "$kept" | tail -n 1 | awk '{print $4}')
  if [ "$free" -lt $((2 * size + @SPARE_KB@)) ]; then
    echo "There is too little free space for it on the disk ($((free / 1024)) MB)."
    return 1
  fi
  xargs -0 cp -a --reflink=auto --parents -t "$new/files" -- <"$new/places" || return 1
  (
    cd "$new/files" || exit 1
    grep -rlZF --exclude='*.pyc' -e "$release" . >"$new/named" || [ "$?" -eq 1 ] || exit 1
    find . -type l -lname "*$release*" -print0 >"$new/links"
  ) || return 1
  reuse_sum "$new/files" >"$new/sum" && printf '%s\n' "$release" >"$new/release" || return 1
  if [ -e "$entry" ]; then mv -T "$entry" "$kept/.old.$key" || return 1; fi
  mv -T "$new" "$entry" || return 1
  rm -rf "$kept/.old.$key"
}

# reuse POSITION: takes over what was kept; else has the task make it, and keeps that.
reuse() {
  key=''
  if reuse_when && reuse_is_own; then key=$(reuse_key); fi
  if [ -z "$key" ]; then
    reuse_uses "none $1 $deployment"
    reuse_command
    return
  fi
  entry=$kept/$key; new=$kept/.new.$key
  rm -rf "$kept"/.new.* "$kept"/.old.*
  if [ "$clean" = 1 ]; then echo "Made anew, as asked for."
  elif [ -d "$entry" ]; then
    if reuse_bring; then
      if [ -z "$reuse_skips" ]; then echo "$reuse_told; completing it."; else echo "$reuse_told."; fi
      if reuse_after; then
        reuse_uses "$key"
        note reused "$1"
        return 0
      fi
    fi
    echo "What was kept cannot be used: it is made anew."
    reuse_places | xargs -0 -r rm -rf --
  fi
  if [ -z "$reuse_folders" ]; then
    reuse_changes | LC_ALL=C sort -z >"$run/reuse.before"
    : >"$run/reuse.mark"
    sleep 0.02  # the times of files are as coarse as the ticks of the kernel
  fi
  reuse_command
  reuse_keep || { rm -rf "$new"; echo "What '$reuse_name' made is not kept for later releases; this one has it."; }
  reuse_uses "$key"
}
"""
).replace("@SPARE_KB@", str(SPARE_MB * 1024))
"""For scripts in which a task has something to reuse."""

_REMOVE_UNUSED = """\
  rm -rf "$root"/.devflow/kept/.new.* "$root"/.devflow/kept/.old.*
  for use in "$root"/.devflow/uses/*; do
    if [ ! -d "$root/releases/${use##*/}" ]; then rm -f "$use"; fi
  done
  cat "$root"/.devflow/uses/* "$root/.devflow/uses/.failed" >"$run/used" 2>/dev/null || :
  for entry in "$root"/.devflow/kept/*; do
    if [ -d "$entry" ] && ! grep -qxF -e "${entry##*/}" "$run/used"; then
      rm -rf "$entry" || echo "It cannot be removed; remove it by hand: $entry"
    fi
  done
"""

PRUNE = f"""\
if [ -d "$root/.devflow/kept" ]; then
  rm -f "$root/.devflow/uses/.failed"
{_REMOVE_UNUSED}fi
"""
"""Removes what no release uses any more."""

FORGET = f"""\
by=''
if [ -s "$root/.devflow/lock" ]; then read -r _ by _ <"$root/.devflow/lock"; fi
if [ "$by" = "$deployment" ] && [ ! -d "$path" ] && [ -f "$root/.devflow/uses/$release" ]; then
  mv -f "$root/.devflow/uses/$release" "$root/.devflow/uses/.failed"
{_REMOVE_UNUSED}fi
"""
"""After a release was thrown away. What it used is kept until a deployment succeeds or fails: it will be tried again."""


def functions(*, is_clean: bool, folders: Iterable[str]) -> str:
    """FUNCTIONS and what they take from the plan: `folders` are those that any of its tasks makes."""
    tests = [
        f"-name {quote(folder[3:])}" if folder.startswith("**/") else f"-path {quote('./' + folder)}"
        for folder in folders
    ]
    return f"clean={int(is_clean)}\nmade={quote(' -o '.join(tests) or '-false')}{FUNCTIONS}"


def task(
    position: int,
    *,
    name: str,
    told: str,
    folders: tuple[str, ...],
    inputs: tuple[str, ...],
    tools: tuple[str, ...],
    when: str,
    command: str,
    after: str | None,
    options: Iterable[str],
) -> str:
    """The end of a task's function: its command, unless what it made for an earlier release can be taken over.

    `command` and `after` run with the environment's variables; `after` None is the command again, '' nothing.
    """
    decides = "\n".join((name, command, "again" if after is None else after, *folders, *inputs, *tools, *options))
    what = ", ".join(folder.removeprefix("**/") for folder in folders) or "what it made before"
    lines = [
        f"reuse_name={quote(name)}",
        f"reuse_text={quote(decides)}",
        f"reuse_folders={quote(' '.join(folders))}",
        f"reuse_skips={'' if after is None else 1}",
        f"reuse_told={quote(f'Reused {what}: {told} are unchanged')}",
        f"reuse_when() {{ {when or ':'}; }}",
        f"reuse_inputs() {{ reuse_digest {' '.join(inputs)}; }}",
        f"reuse_tools() ( user_env; exec sh -c {quote('; '.join(tools) or ':')} )",
        f"reuse_command() ( user_env; exec sh -ec {quote(command)} )",
        "reuse_after() { reuse_command; }"
        if after is None
        else f"reuse_after() ( user_env; exec sh -ec {quote(after)} )",
        f"reuse {position}",
    ]
    return "\n".join(lines)
