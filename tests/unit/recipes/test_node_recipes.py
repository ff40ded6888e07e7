"""Node and built sites: what is recognised, and which commands run for which files, in real shells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from devflow.engine.plan import Plan, place
from devflow.engine.task import Phase, Recipe, Tree
from devflow.recipes import RECIPES, detect
from devflow.recipes.static import CHECK_OUTPUT
from tests.support.machine import Machine, Ran

NPM, PNPM, YARN = '{"lockfileVersion": 3}', "lockfileVersion: '9.0'", "# yarn lockfile v1\n"
BERRY = "__metadata:\n  version: 8\n"
PACKAGE = {"name": "sample", "scripts": {"build": "true"}}


def package(**given: object) -> dict[str, str]:
    return {"package.json": json.dumps(given)}


def recognised(contents: Mapping[str, str], *files: str) -> str:
    return detect(Tree(frozenset([*contents, *files]), contents)).name


# --- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "files", "name"),
    [
        ({"scripts": {"start": "node server.js"}}, (), "node"),
        ({"scripts": {"start": "node server.js", "build": "tsc"}}, ("index.html",), "node"),
        ({"scripts": {"build": "tsc && vite build", "start": "node dist/index.js"}}, (), "node"),
        ({"scripts": {"start": "webpack && node server.js"}}, (), "node"),
        ({"scripts": {"build": "next build"}, "dependencies": {"next": "15"}}, (), "node"),
        ({"scripts": {"build": "nuxt build"}, "devDependencies": {"nuxt": "4"}}, (), "node"),
        ({"dependencies": {"express": "5"}}, ("index.html",), "node"),
        ({"scripts": {"build": "vite build"}, "devDependencies": {"@sveltejs/adapter-node": "5"}}, (), "node"),
        ({"scripts": {"build": "tsc"}}, ("server.js",), "node"),
        ({"main": "index.js"}, (), "node"),
        ({"scripts": {"dev": "vite", "build": "vite build", "preview": "vite preview"}}, ("index.html",), "static"),
        ({"scripts": {"build": "vite build"}, "devDependencies": {"express": "5"}}, (), "static"),
        ({"scripts": {"start": "astro dev", "build": "astro build"}, "dependencies": {"astro": "5"}}, (), "static"),
        ({"scripts": {"start": "react-scripts start", "build": "react-scripts build"}}, (), "static"),
        ({"scripts": {"start": "npm run dev", "build": "eleventy"}}, (), "static"),
        ({"scripts": {"start": "PORT=1 ng serve", "build": "ng build"}}, (), "static"),
        ({"scripts": {"build": "eleventy"}}, (), "static"),
    ],
)
def test_what_runs_is_told_from_what_is_built(given: dict[str, object], files: tuple[str, ...], name: str) -> None:
    assert recognised(package(**given), *files) == name


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"text"', "null", "[" * 100_000, '{"scripts": 1}', '{"scripts": {"start": 1}, "dependencies": []}'],
)
def test_a_broken_package_json_tells_nothing(text: str) -> None:
    assert recognised({"package.json": text}) == "node"
    assert recognised({"package.json": text}, "index.html") == "static"


# --- which commands run -----------------------------------------------------------------------------------------------


@pytest.fixture
def packages(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A server with Node, npm, pnpm and Yarn that say how they were called, and with nothing else beside the basics."""
    for name in ("npm", "pnpm", "yarn"):
        machine.tool(name, f'echo "{name} $*"')
    machine.tool("node", "grep -q build package.json")
    bare = machine.folder / "bin"
    bare.mkdir()
    for name in ("sh", "dash", "bash", "env", "cat", "grep", "mkdir", "rm", "ls", "find", "sort", "tr", "id"):
        if found := shutil.which(name):
            (bare / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(bare))
    return machine


def prepare(machine: Machine, recipe: Recipe, files: Mapping[str, str], *, phase: Phase = Phase.PREPARE) -> Ran:
    """The tasks of the phase in a release with these files, nothing taken over from another one."""
    machine.runs += 1
    release = f"r{machine.runs}"
    folder = machine.root / "releases" / release
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (machine.root / ".devflow").mkdir(exist_ok=True)
    (machine.root / ".devflow" / "lock").write_text("e d2 shop\n")
    options = {option.name: option.default for option in recipe.options}
    tasks = [replace(task, reuse=None) for task in recipe.tasks if task.phase is phase]
    site = machine.site(options=options)
    plan = Plan("atomic", recipe.name, release, "", False, site, place(site, tasks))
    return machine.carry_out(plan, plan.groups[0])


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        (
            {"package-lock.json": NPM},
            ["npm ci --include=dev", "npm run build --if-present", "npm prune --omit=dev"],
        ),
        (
            {"npm-shrinkwrap.json": NPM},
            ["npm ci --include=dev", "npm run build --if-present", "npm prune --omit=dev"],
        ),
        ({}, ["npm install --include=dev", "npm run build --if-present", "npm prune --omit=dev"]),
        (
            {"pnpm-lock.yaml": PNPM},
            ["pnpm install --frozen-lockfile --prod=false", "pnpm run --if-present build", "pnpm prune --prod"],
        ),
        (
            {"pnpm-lock.yaml": PNPM, "pnpm-workspace.yaml": "packages:\n  - web\n"},
            ["pnpm install --frozen-lockfile --prod=false", "pnpm run --if-present build"],
        ),
        (
            {"yarn.lock": YARN},
            ["yarn install --frozen-lockfile --production=false --non-interactive", "yarn run build"],
        ),
        ({"yarn.lock": BERRY}, ["yarn install --immutable", "yarn run build"]),
        ({"yarn.lock": "", ".yarnrc.yml": ""}, ["yarn install --immutable", "yarn run build"]),
        ({"yarn.lock": BERRY, "package.json": '{"name": "no scripts"}'}, ["yarn install --immutable"]),
        (
            {"pnpm-lock.yaml": PNPM, "yarn.lock": YARN, "package-lock.json": NPM},
            ["pnpm install --frozen-lockfile --prod=false", "pnpm run --if-present build", "pnpm prune --prod"],
        ),
        (
            {"yarn.lock": YARN, "package-lock.json": NPM},
            ["yarn install --frozen-lockfile --production=false --non-interactive", "yarn run build"],
        ),
    ],
)
def test_the_lock_file_decides(packages: Machine, files: dict[str, str], commands: list[str]) -> None:
    ran = prepare(packages, RECIPES["node"], {"package.json": json.dumps(PACKAGE), **files})
    assert (ran.code, [line.removesuffix(" --no-audit --no-fund") for line in ran.lines]) == (0, commands)


def test_a_static_site_keeps_what_the_build_needs(packages: Machine) -> None:
    ran = prepare(packages, RECIPES["static"], {"package.json": json.dumps(PACKAGE), "package-lock.json": NPM})
    assert [line.split()[1] for line in ran.lines] == ["ci", "run"]


def test_a_plain_static_site_needs_no_tool(packages: Machine) -> None:
    for name in ("npm", "pnpm", "yarn", "node"):
        (packages.tools / name).unlink()
    ran = prepare(packages, RECIPES["static"], {"index.html": "<h1>"})
    assert (ran.code, ran.lines) == (0, [])


@pytest.mark.parametrize(
    ("lock", "tool", "told"),
    [
        ("package-lock.json", "npm", "npm is not installed on web1; 'npm ci' needs it. Install it there: apt-get"),
        ("package-lock.json", "node", "node is not installed on web1; 'npm ci' needs it. Install it there: apt-get"),
        ("pnpm-lock.yaml", "pnpm", "pnpm (or corepack) is not installed on web1; 'pnpm install' needs it. Install it"),
        ("yarn.lock", "yarn", "yarn (or corepack) is not installed on web1; 'yarn install' needs it. Install it there"),
    ],
)
def test_a_tool_that_is_missing_is_named(packages: Machine, lock: str, tool: str, told: str) -> None:
    (packages.tools / tool).unlink()
    ran = prepare(packages, RECIPES["node"], {"package.json": json.dumps(PACKAGE), lock: YARN})
    assert ran.code == 1
    assert ran.explained.startswith(told)


@pytest.mark.parametrize(("tool", "lock"), [("pnpm", "pnpm-lock.yaml"), ("yarn", "yarn.lock")])
def test_a_tool_may_come_by_corepack(packages: Machine, tool: str, lock: str) -> None:
    (packages.tools / tool).unlink()
    packages.tool("corepack", '[ "$COREPACK_ENABLE_DOWNLOAD_PROMPT" = 0 ] && echo "by corepack: $*"')
    ran = prepare(packages, RECIPES["node"], {"package.json": json.dumps(PACKAGE), lock: YARN})
    assert ran.code == 0
    assert ran.lines[0] == f"by corepack: {tool} --version"
    assert ran.lines[1].startswith(f"by corepack: {tool} install --frozen-lockfile")
    assert any(line.startswith(f"by corepack: {tool} run") for line in ran.lines)


@pytest.mark.parametrize(("tool", "lock"), [("pnpm", "pnpm-lock.yaml"), ("yarn", "yarn.lock")])
def test_a_corepack_that_cannot_bring_the_tool_is_told(packages: Machine, tool: str, lock: str) -> None:
    (packages.tools / tool).unlink()
    packages.tool("corepack", "echo '  at process.processTicksAndRejections'; exit 1")
    ran = prepare(packages, RECIPES["node"], {"package.json": json.dumps(PACKAGE), lock: YARN})
    told = f"corepack cannot bring {tool} here. Install it on the server: npm install -g {tool}"
    assert (ran.code, ran.lines[-1]) == (1, told)


def test_what_fails_ends_the_preparation(packages: Machine) -> None:
    packages.tool("npm", 'echo "npm $1"; [ "$1" != run ]')
    ran = prepare(packages, RECIPES["node"], {"package.json": json.dumps(PACKAGE), "package-lock.json": NPM})
    assert (ran.code, ran.lines) == (1, ["npm ci", "npm run"])


# --- the folder that is served ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "files", "code", "last"),
    [
        ("", {"index.html": ""}, 0, None),
        ("dist", {"dist/index.html": ""}, 0, None),
        (".output/public", {".output/public/.well-known/x": ""}, 0, None),
        (
            "dist",
            {"build/index.html": "", "src/a": ""},
            1,
            "There is no folder dist in the release: correct the output",
        ),
        ("dist", {"dist": "a file"}, 1, "There is no folder dist in the release"),
        ("dist", {}, 1, "There is no folder dist in the release"),
    ],
)
def test_the_output_folder_is_looked_for(
    machine: Machine, output: str, files: dict[str, str], code: int, last: str | None
) -> None:
    recipe = replace(
        RECIPES["static"], options=tuple(replace(o, default=output) for o in RECIPES["static"].options[:1])
    )
    ran = prepare(machine, recipe, {"README": "", **files}, phase=Phase.PROTECT)
    assert ran.code == code
    assert (ran.lines[-1:] or [None])[0] is None if last is None else ran.lines[-1].startswith(last)
    if "build/index.html" in files:
        assert "Folders of the release: ./build ./src" in ran.lines[0]


def test_an_empty_output_folder_is_not_served(machine: Machine) -> None:
    (machine.root / "releases" / "r1" / "dist").mkdir(parents=True)
    recipe = replace(RECIPES["static"], options=(replace(RECIPES["static"].options[0], default="dist"),))
    ran = prepare(machine, recipe, {}, phase=Phase.PROTECT)
    assert (ran.code, ran.lines) == (1, ["The folder dist is empty: there is nothing to serve."])


def test_the_check_of_the_output_is_after_the_teams_own_commands_of_prepare() -> None:
    assert CHECK_OUTPUT.phase is Phase.PROTECT


@pytest.mark.parametrize("value", ["dist", "a/b-c/d_e", ".output/public", "_site", "x.y", ".vitepress/dist"])
def test_folders_that_can_be_the_output(value: str) -> None:
    assert RECIPES["static"].options[0].problem(value) == ""


@pytest.mark.parametrize(
    "value", ["..", "../x", "a/../b", "/etc", "a//b", "a/", "a b", "$(id)", "a'b", "-rf", ".", "./a"]
)
def test_folders_that_cannot(value: str) -> None:
    assert RECIPES["static"].options[0].problem(value) != ""


def test_the_sample_applications_are_recognised() -> None:
    apps = Path(__file__).parents[2] / "integration/apps"
    wanted = {"node": "node", "node-packages": "node", "static-build": "static", "static": "static"}
    wanted |= {"python": "python", "python-locked": "python", "django": "python"}
    for name, recipe in wanted.items():
        names = [path.name for path in (apps / name).iterdir()]
        contents = {file: (apps / name / file).read_text() for file in names if file == "package.json"}
        assert recognised(contents, *names) == recipe, name
