#!/bin/sh
# packages.sh [COMMAND:]PACKAGE... - installs the Debian packages that are missing; with COMMAND, only where that command is missing.
# Nothing to do: no output, some milliseconds.
set -eu

missing=
for wanted in "$@"; do
    command=${wanted%:*} package=${wanted##*:}
    if [ "$command" != "$wanted" ]; then
        ! command -v "$command" >/dev/null 2>&1 || continue
    elif [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then
        continue
    fi
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This machine has no apt-get (not a Debian or Ubuntu). Install these yourself and run it again:$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "Installing these needs root, and there is no sudo here:$missing" >&2; exit 1; }
    sudo=sudo
fi

echo "Installing Debian packages:$missing" >&2
apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086 # both are lists of words
output=$({ $apt update && $apt install -y --no-install-recommends $missing; } 2>&1) || { echo "$output" >&2; exit 1; }
