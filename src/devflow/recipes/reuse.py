"""What the tasks of recipes take over from earlier releases, and what must be unchanged for that."""

from __future__ import annotations

from devflow.engine.task import Option, Reuse

BUILD_INPUTS = Option(
    name="build_inputs",
    title="What the build reads",
    help="Files and folders, with spaces between them, like: resources package.json vite.config.js. While they and the "
    "dependencies are unchanged, built files are reused. Empty: every file of the commit counts.",
    pattern=r"([\w.@*?][\w.@*?/-]*( [\w.@*?][\w.@*?/-]*){0,39})?",
)

COMPOSER = Reuse(
    told="composer.lock, composer.json, PHP and Composer",
    folders=("vendor",),
    inputs=("composer.json", "composer.lock", "patches"),
    tools=("php -v | head -n 1", "composer --version"),
    # what is copied from a folder of the repository can change without the lock
    when="[ -f composer.lock ] && ! grep -qs '\"symlink\" *: *false' composer.json",
)
"""Composer goes on from what it finds: it looks whether all is there, makes the autoloader, and runs the scripts."""

_SCRIPTS = '"(pre|post)?(install|prepare)" *:|"prepublish" *:'
# What the packages of a workspace make by their own install scripts lies anywhere.
_NO_SCRIPTS_IN_PARTS = f"""\
! {{ {{ [ -f pnpm-workspace.yaml ] || grep -Eqs '"workspaces" *:|"(file|link|portal):' package.json; }} && \
find . \\( -name node_modules -o -path ./vendor -o -path ./package.json \\) -prune -o -name package.json \
-exec grep -lE '{_SCRIPTS}' {{}} + | grep -q .; }}"""
# `npm -v` takes ten times as long as a look at what it would print.
_NPM_VERSION = """\
file=$(readlink -f "$(command -v npm)"); file=${file%/*}/../package.json
if grep -qs '"name": *"npm"' "$file"; then grep -m 1 '"version"' "$file"; else npm -v; fi"""
_NPM_SCRIPTS = f"""\
if grep -Eq '{_SCRIPTS}' package.json && [ "$(npm config get ignore-scripts)" != true ]; then
  for script in preinstall install postinstall prepublish preprepare prepare postprepare; do
    if grep -q "\\"$script\\" *:" package.json; then npm run --ignore-scripts --if-present "$script"; fi
  done
fi"""
NPM = Reuse(
    told="package-lock.json, package.json, Node and npm",
    folders=("**/node_modules",),
    inputs=(
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        ".npmrc",
        "patches",
        "*/package.json",
        "*/*/package.json",
    ),
    tools=("node -v", _NPM_VERSION),
    # a package that is copied from a folder of the repository can change without the lock
    when="! grep -s '\"resolved\": *\"file:' package-lock.json npm-shrinkwrap.json | grep -qv '[.]tgz\"' && "
    + _NO_SCRIPTS_IN_PARTS,
    after=_NPM_SCRIPTS,
)
"""`npm ci` would begin by removing what is there; what it does in the project itself is to run its scripts."""
PNPM = Reuse(
    told="pnpm-lock.yaml, package.json, Node and pnpm",
    folders=("**/node_modules",),
    inputs=(
        "package.json",
        "pnpm-lock.yaml",
        "pnpm-workspace.yaml",
        ".npmrc",
        ".pnpmfile.cjs",
        "patches",
        "*/package.json",
        "*/*/package.json",
    ),
    tools=("node -v", "pnpm -v || corepack -v"),
    when=f"! grep -qs 'type: directory' pnpm-lock.yaml && {_NO_SCRIPTS_IN_PARTS}",
)
YARN = Reuse(
    told="yarn.lock, package.json, Node and Yarn",
    folders=("**/node_modules",),
    inputs=(
        "package.json",
        "yarn.lock",
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        ".yarn",
        "patches",
        "*/package.json",
        "*/*/package.json",
    ),
    tools=("node -v", "yarn -v || corepack -v"),
    when=f"! grep -qs '@file:' yarn.lock && {_NO_SCRIPTS_IN_PARTS}",
)
BUILD = Reuse(
    told="dependencies, Node and what the build reads",
    inputs=("$option_build_inputs",),
    tools=("node -v",),
    when="[ -f package-lock.json ] || [ -f npm-shrinkwrap.json ] || [ -f pnpm-lock.yaml ] || [ -f yarn.lock ]",
    after="",
)

_PYTHON = '"${option_python:-python3}" -VV'
# What a requirement names by a path or a branch can change without the file that names it.
PIP = Reuse(
    told="requirements.txt and Python",
    folders=(".venv",),
    inputs=("requirements*.txt", "requirements/*.txt", "constraints*.txt"),
    tools=(_PYTHON,),
    when="! grep -qsE '^ *(-[erc]|--(editable|requirement|constraint)|[./])|file:|(git|hg|svn|bzr)[+]' requirements.txt",
    after="",
)
UV = Reuse(
    told="uv.lock, pyproject.toml, Python and uv",
    folders=(".venv",),
    inputs=("uv.lock", "uv.toml", "pyproject.toml", ".python-version", "*/pyproject.toml", "*/*/pyproject.toml"),
    tools=(_PYTHON, "uv --version"),
    when="! grep -qs 'source = { directory' uv.lock",
)
"""uv goes on from what it finds, and so does Poetry: the project itself is installed anew."""
POETRY = Reuse(
    told="poetry.lock, pyproject.toml, Python and Poetry",
    folders=(".venv",),
    inputs=("poetry.lock", "poetry.toml", "pyproject.toml"),
    tools=(_PYTHON, "poetry --version"),
    when="! grep -qs '^type = \"directory\"' poetry.lock",
)
