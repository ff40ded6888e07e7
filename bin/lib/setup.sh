# shellcheck shell=sh
# Sourced by the scripts in bin/. Each `setup_…` brings one part of the checkout up to date; with nothing to do it takes
# milliseconds, because a stamp holds the hash of what the part was made from. ROOT is the checkout; it is the working directory.

ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT" || exit 1
mkdir -p .tools

# setup base|dev - everything for running the panel, or for working on it
setup() {
    (
        flock 9
        sh bin/lib/packages.sh git ssh:openssh-client curl:curl ca-certificates
        setup_python "$1"
        setup_assets
    ) 9>.tools/setup.lock
}

setup_python() {
    requirements=requirements/$1.txt
    [ -x .venv/bin/python ] || make_venv .venv
    stamp=$(cat requirements/base.txt requirements/dev.txt pyproject.toml | sha256sum)
    # What `dev` installs holds all of `base`.
    if is_stamped .venv/.devflow-dev "$stamp" || is_stamped ".venv/.devflow-$1" "$stamp"; then return; fi
    say "Installing Python packages ($requirements)"
    quietly .venv/bin/python -m pip install --require-hashes -r "$requirements"
    quietly .venv/bin/python -m pip install --no-deps --no-build-isolation -e .
    rm -f .venv/.devflow-*
    echo "$stamp" >".venv/.devflow-$1"
}

# make_venv FOLDER - with the newest Python that has `venv`
make_venv() {
    python=$(find_python) || {
        sh bin/lib/packages.sh python3 python3-venv
        python=$(find_python) || die "DevFlow needs Python 3.11 or later with the venv module; this machine's python3 is $(python3 --version 2>&1)."
    }
    "$python" -m venv --clear "$1"
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# The pages' styles and scripts: src/devflow/web/static/build/
setup_assets() {
    [ -f package.json ] || return 0
    stamp=$({ cat package.json package-lock.json; find src/devflow/web -path '*/static/build' -prune -o -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum; } | sha256sum)
    if [ -d src/devflow/web/static/build ] && is_stamped .tools/assets "$stamp"; then return; fi
    find_node || install_node
    say "Building the web assets"
    npm_stamp=$(cat package.json package-lock.json | sha256sum)
    if ! is_stamped node_modules/.devflow "$npm_stamp"; then
        quietly npm ci
        echo "$npm_stamp" >node_modules/.devflow
    fi
    quietly npm run build
    echo "$stamp" >.tools/assets
}

# A Node.js of 20 or later on PATH: the machine's, or the one that an earlier run put into .tools/node
find_node() {
    is_node_new_enough && return
    [ -x .tools/node/bin/node ] || return 1
    PATH=$ROOT/.tools/node/bin:$PATH
    is_node_new_enough
}

is_node_new_enough() {
    command -v npm >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

install_node() {
    say "Installing Node.js into .tools/node (only the web assets are built with it)"
    make_venv .tools/node
    quietly .tools/node/bin/python -m pip install --require-hashes -r requirements/node.txt
    find_node || die "The Node.js in .tools/node does not run on this machine; install Node.js 20 or later and run this again."
}

is_stamped() {
    [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

# quietly COMMAND [ARGUMENT]... - its output is shown only when it fails
quietly() {
    output=$("$@" 2>&1) || die "$output"
}

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}
