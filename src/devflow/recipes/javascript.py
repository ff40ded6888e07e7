"""Packages and build of JavaScript, with the tool whose lock file is there, for all recipes that have some.

With several lock files pnpm's counts before Yarn's, and Yarn's before npm's: an npm lock beside another one is mostly
left over from an `npm install` by mistake. Dev dependencies are installed whatever NODE_ENV says, for the build.
"""

from __future__ import annotations

from devflow.engine.task import Phase, Reuse, Task
from devflow.recipes import reuse
from devflow.recipes.common import THROWN_AWAY

_PNPM = "[ -f pnpm-lock.yaml ]"
_YARN = "[ -f yarn.lock ] && [ ! -f pnpm-lock.yaml ]"
_YARN_CLASSIC = f"{_YARN} && [ ! -f .yarnrc.yml ] && ! grep -q '^__metadata:' yarn.lock"
_YARN_BERRY = f"{_YARN} && {{ [ -f .yarnrc.yml ] || grep -q '^__metadata:' yarn.lock; }}"
_NPM = "[ -f package.json ] && [ ! -f pnpm-lock.yaml ] && [ ! -f yarn.lock ]"
_NPM_LOCKED = f"{_NPM} && {{ [ -f package-lock.json ] || [ -f npm-shrinkwrap.json ]; }}"
_NPM_UNLOCKED = f"{_NPM} && [ ! -f package-lock.json ] && [ ! -f npm-shrinkwrap.json ]"
_HAS_BUILD = "node -e 'process.exit(require(`./package.json`).scripts?.build ? 0 : 1)' 2>/dev/null"
_ONE_PACKAGE = "! grep -qs '^packages:' pnpm-workspace.yaml"

_NEEDS_NPM = ("node", "npm")
_NEEDS_PNPM = ("node", "pnpm|corepack")
_NEEDS_YARN = ("node", "yarn|corepack")


def _task(name: str, command: str, condition: str, needs: tuple[str, ...], kept: Reuse | None = None) -> Task:
    return Task(
        name=name,
        phase=Phase.PREPARE,
        command=command,
        condition=condition,
        needs=needs,
        undo=THROWN_AWAY,
        reuse=kept,
    )


def _or_corepack(tool: str, command: str) -> str:
    """The tool's own command, or the one that Node's corepack brings."""
    return f"""\
command -v {tool} >/dev/null || {{
  {tool}() {{ COREPACK_ENABLE_DOWNLOAD_PROMPT=0 corepack {tool} "$@"; }}
  {tool} --version || {{ echo "corepack cannot bring {tool} here. Install it on the server: npm install -g {tool}"; exit 1; }}
}}
{command}"""


def _pnpm(name: str, command: str, condition: str = _PNPM, kept: Reuse | None = None) -> Task:
    return _task(name, _or_corepack("pnpm", command), condition, _NEEDS_PNPM, kept)


def _yarn(name: str, command: str, condition: str = _YARN, kept: Reuse | None = None) -> Task:
    return _task(name, _or_corepack("yarn", command), condition, _NEEDS_YARN, kept)


INSTALL = (
    _task("npm ci", "npm ci --include=dev --no-audit --no-fund", _NPM_LOCKED, _NEEDS_NPM, reuse.NPM),
    _task("npm install", "npm install --include=dev --no-audit --no-fund", _NPM_UNLOCKED, _NEEDS_NPM),
    _pnpm("pnpm install", "CI=true pnpm install --frozen-lockfile --prod=false", kept=reuse.PNPM),
    _yarn(
        "yarn install", "yarn install --frozen-lockfile --production=false --non-interactive", _YARN_CLASSIC, reuse.YARN
    ),
    _yarn("yarn install immutable", "yarn install --immutable", _YARN_BERRY, reuse.YARN),
)
"""What the lock file says, exactly; without one, what package.json allows today."""

BUILD = (
    _task("npm run build", "npm run build --if-present", _NPM, _NEEDS_NPM, reuse.BUILD),
    _pnpm("pnpm run build", "pnpm run --if-present build", kept=reuse.BUILD),
    _yarn("yarn run build", "yarn run build", f"{_YARN} && {_HAS_BUILD}", reuse.BUILD),
)
"""The script `build` of package.json, where there is one."""

PRUNE = (
    _task("npm prune", "npm prune --omit=dev --no-audit --no-fund", _NPM, _NEEDS_NPM),
    _pnpm("pnpm prune", "CI=true pnpm prune --prod", f"{_PNPM} && {_ONE_PACKAGE}"),
)
"""Dev dependencies go once the build is done, where the tool can: Yarn cannot, nor can pnpm in a workspace."""
