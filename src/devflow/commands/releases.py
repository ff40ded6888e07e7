"""Release folders of a site: `<root>/{releases/<id>,shared,current}`. All run with the variables of engine/script.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devflow.commands import lock
from devflow.core.shell import quote

MINIMUM_FREE_MB = 50

CHECK = f"""\
command -v git >/dev/null || explain "git is not installed on $server. Install it there: apt-get install git"
command -v flock >/dev/null || explain "flock (util-linux) is not installed on $server. Install it there: apt-get install util-linux"
{lock.OWNED}if [ -e "$root/current" ] && [ ! -L "$root/current" ]; then
  explain "$root/current on $server is a folder or file, not a link. Move it away; the panel makes a link of that name."
fi
[ -d "$root/releases" ] && [ -d "$root/shared" ] || mkdir -p "$root/releases" "$root/shared" 2>/dev/null || explain "The folder $root cannot be made or written on $server by $(id -un). Make it once: sudo install -d -o $(id -un) $root"
[ -w "$root/releases" ] && [ -w "$root" ] || explain "$(id -un) may not write $root on $server. Give it the folder: sudo chown -R $(id -un) $root"
df -Pk "$root" "$devflow" | {{
  read -r _
  while read -r _ _ _ free _ mount; do
    [ "$free" -ge {MINIMUM_FREE_MB * 1024} ] || explain "Only $((free / 1024)) MB are free in $mount on $server; a deployment needs {MINIMUM_FREE_MB} MB at least. Free some space and deploy again."
  done
}}
"""

CHECK_KEPT = """\
[ -d "$path" ] || explain "The release $release is not on $server any more. Choose a newer one, or deploy its commit."
"""

_POINT = """\
point() { ln -sfn "$2" "$1.next.$deployment"; mv -T "$1.next.$deployment" "$1"; }
point_variables() {
  link=''
  if [ -L "$root/shared/.env" ]; then link=$(readlink "$root/shared/.env") || link=''; fi
  if [ -f "$root/shared/.env.d/$1" ]; then
    if [ -e "$root/shared/.env" ] && [ -z "$link" ]; then mv "$root/shared/.env" "$root/shared/.env.before-devflow"; fi
    point "$root/shared/.env" ".env.d/$1"
  elif [ "${link#.env.d/}" != "$link" ]; then
    if [ -f "$root/shared/.env.before-devflow" ]; then mv -T "$root/shared/.env.before-devflow" "$root/shared/.env"
    else rm -f "$root/shared/.env"
    fi
  fi
}
"""
"""`point LINK TARGET`: by one rename. `point_variables RELEASE`: shared/.env as that release wants it, of ours or by hand."""

ACTIVATE = (
    _POINT
    + """\
before=$(readlink "$root/current" 2>/dev/null) || before=''
[ "$before" = "releases/$release" ] || printf '%s\\n' "$before" >"$root/.devflow/before.$deployment"
point_variables "$release"
point "$root/current" "releases/$release"
"""
)

VERIFY = """\
[ "$root/current" -ef "$path" ] || explain "$root/current on $server points to $(readlink "$root/current" || echo nothing), not to this release: something else changed it."
"""

UNDO = (
    _POINT
    + """\
rm -f "$root/current.next.$deployment" "$root/shared/.env.next.$deployment"
if [ -f "$root/.devflow/before.$deployment" ]; then
  read -r before <"$root/.devflow/before.$deployment" || before=''
  now=$(readlink "$root/current" 2>/dev/null) || now=''
  point_variables "${before##*/}"
  if [ "$now" = "releases/$release" ] && [ -n "$before" ]; then
    point "$root/current" "$before"
    echo "Release ${before##*/} serves again."
    note took_back "${before##*/}"
  elif [ "$now" = "releases/$release" ]; then
    rm -f "$root/current"
    echo "There was no release before; nothing is served."
    note took_back nothing
  fi
  echo "$before" >"$run/took_back"
fi
"""
)

THROW_AWAY = """\
now=$(readlink "$root/current" 2>/dev/null) || now=''
if [ "$now" != "releases/$release" ]; then
  rm -rf "$path" "$root/shared/.env.d/$release" "$root/shared/.env.d/$release.files" || echo "Some files of the release stay in $path: they cannot be removed."
fi
"""

REPORT = """\
current=''
for folder in "$root"/releases/*/; do
  if [ "$folder" -ef "$root/current" ]; then folder=${folder%/}; current=${folder##*/}; fi
done
note current "$current"
for folder in "$root"/releases/*/; do
  folder=${folder%/}
  [ "$folder" = "$root/releases/*" ] || note release "${folder##*/}"
done
"""

PRUNE = """\
before=''
[ -f "$root/.devflow/before.$deployment" ] && read -r before <"$root/.devflow/before.$deployment"
before=${before##*/}
coloured=''
for file in "$root/.devflow/live" "$root/.devflow/standby"; do
  if [ -s "$file" ]; then read -r _ name <"$file"; coloured="$coloured $name "; fi
done
unfinished=' '
for mark in "$root"/.devflow/making.*; do
  if [ -s "$mark" ] && [ "${mark##*.}" != "$deployment" ] && read -r name <"$mark"; then unfinished="$unfinished$name "; fi
done
set --
for folder in "$root"/releases/*/; do
  name=${folder%/}; name=${name##*/}
  case $unfinished in *" $name "*) ;; *) set -- "$@" "$folder" ;; esac  # no way back: the next deployment removes it
done
excess=$(($# - keep))
for folder in "$@"; do
  folder=${folder%/}; name=${folder##*/}
  [ "$excess" -gt 0 ] || break
  case $coloured in *" $name "*) continue ;; esac
  if [ ! "$folder" -ef "$root/current" ] && [ "$name" != "$before" ]; then
    excess=$((excess - 1))
    if rm -rf "$folder" "$root/shared/.env.d/$name" "$root/shared/.env.d/$name.files"; then echo "Removed release $name"
    else echo "Release $name cannot be removed; remove it by hand: $folder"
    fi
  fi
done
"""


def link_shared(files: Iterable[str], folders: Iterable[str]) -> str:
    """Links shared files and folders into the release. What a commit brings for a new shared folder is copied there first."""
    lines = [
        "link_shared() {",
        '  target="$root/shared/$1"; place="$path/$1"',
        '  [ -d "${target%/*}" ] && [ -d "${place%/*}" ] || mkdir -p "${target%/*}" "${place%/*}"',
    ]
    lines += [
        '  if [ ! -e "$target" ] && [ ! -L "$target" ]; then',
        '    if [ -e "$place" ]; then cp -a "$place" "$target"; elif [ "$2" = folder ]; then mkdir "$target"; fi',
        "  fi",
        '  if [ -e "$place" ] || [ -L "$place" ]; then rm -rf "$place"; fi',
        '  if [ "$2" = folder ] || [ -e "$target" ] || [ "$1" != .env ]; then ln -s "$target" "$place"; fi',
        "}",
    ]
    lines += [f"link_shared {quote(path)} file" for path in files]
    lines += [f"link_shared {quote(path)} folder" for path in folders]
    return "\n".join(lines) + "\n"


def remember_reload(commands: Iterable[str], *, root: str, options: Mapping[str, str], tools: str) -> str:
    """Keeps the reloading commands beside the site, for `devflow-run rollback`, which must do without the panel.

    They find there what they find in a run: the recipe's options, and its `tools` (in the site's folder).
    """
    settings = [f"export option_{name}={quote(value)}" for name, value in options.items()]
    before = [*settings, f"run={quote(f'{root}/.devflow')}", tools.rstrip("\n")] if tools else settings
    lines = quote("\n".join([*before, *commands]))
    return f'printf "%s\\n" {lines} >"$root/.devflow/reload" || echo "The commands that reload could not be kept."\n'


def write_variables(env_file: str = ".env") -> str:
    """Writes the variables to a file of this release alone, and links it as `env_file` into the release. Those that are
    files are beside it, in `<release>.files`."""
    return f"""\
umask 077
mkdir -p "$root/shared/.env.d"
variable_files "$root/shared/.env.d/$release.files" || explain "The files of the variables cannot be written to $root/shared on $server: is the disk full?"
dotenv >"$root/shared/.env.d/$release" || explain "The variables cannot be written to $root/shared on $server: is the disk full?"
rm -f "$path/"{quote(env_file)}
ln -s "$root/shared/.env.d/$release" "$path/"{quote(env_file)}
"""


SHOW_VARIABLES = """\
root=$1
env=$root/shared/.env
link=$(readlink "$env") || link=''
case $link in .env.d/*) echo panel ;; *) if [ -e "$env" ]; then echo 'by hand'; else echo none; fi ;; esac
if [ -e "$env" ]; then head -c 1048576 "$env" | base64 | tr -d '\\n'; fi
echo
cd "$root/shared/$link.files" 2>/dev/null || exit 0
for file in *; do [ ! -f "$file" ] || sha256sum "$file"; done
"""
"""With a site's folder as `$1`: prints who wrote its `.env` (`panel`, `by hand`, `none`), the file in base64 on one line, and digests of the
files that it names. To be read over the connection and kept nowhere: not for a journaled run."""
