"""Hooks and devflow.yml on real servers: every hook in its place, on the servers that it is for, and taken back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.sites import WEB_ROOT, Estate, Site
from tests.support.vps import Vps


@pytest.fixture(scope="module")
def pair(
    deployer: Deployer, vps: Vps, docker_engine: Engine, vps_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Estate]:
    """Two servers; the project reads its devflow.yml."""
    with Vps(docker_engine, vps_image) as second:
        estate = Estate(deployer, [vps, second], tmp_path_factory.mktemp("pair"))
        projects.project_update(actor=deployer.actor, project=estate.project, reads_file=True)
        yield estate


@pytest.fixture
def site(pair: Estate, worker: WorkerProcess) -> Site:
    """Not deployed yet."""
    name = f"hooks-{secrets.token_hex(3)}"
    root = f"{WEB_ROOT}/{pair.project.slug}-{name}"
    environment = pair.deployer.add_environment(
        pair.project, name, servers=[server.name for server in pair.servers], root=root
    )
    return Site(pair.deployer, environment, pair.servers, root, notes="")


def notes_of(site: Site) -> str:
    return f"/home/{site.servers[0].user}/{site.environment.name}"


def note(site: Site, word: str) -> str:
    """A command that writes down that it ran, and in which folder of the site."""
    return f'echo "{word} ${{PWD#{site.root}}}" >>{notes_of(site)}'


def noted(site: Site, server: Vps, release: str) -> list[str]:
    text = server.run(f"cat {notes_of(site)} 2>/dev/null || true").stdout
    return text.replace(f"/releases/{release}", "/release").splitlines()


def in_order(site: Site) -> list[Vps]:
    """The servers as the panel has them: the first is the first by name."""
    return sorted(site.servers, key=lambda server: server.name)


def commit(estate: Estate, page: str, file: str | None) -> str:
    return estate.repository.commit({"index.html": page, "devflow.yml": file}, message=page)


def test_the_files_hooks_run_in_their_places_on_two_servers(site: Site, pair: Estate, deployer: Deployer) -> None:
    places = ["before_prepare", "after_release", "before_activate", "after_activate", "after_reload", "before_finish"]
    hooks = "".join(f"  {place}: {note(site, place)!r}\n" for place in places)
    first = note(site, "migrated once")
    file = f"keep: 3\nhooks:\n{hooks}  after_migrate: {{run: {first!r}, on: first}}\n"
    commit(pair, "with hooks", file)
    deployment = site.check(site.deploy(), status="success", serves="with hooks")
    wanted = [
        *("before_prepare ", "after_release /release", "migrated once /release", "before_activate /release"),
        *("after_activate /release", "after_reload /release", "before_finish /release"),
    ]
    one, two = in_order(site)
    assert noted(site, one, deployment.release) == wanted
    assert noted(site, two, deployment.release) == [line for line in wanted if "once" not in line]
    steps = {(step.name.split(":")[0], step.server_name): step.status for step in deployer.steps(deployment)}
    assert steps["before activate", two.name] == "success"
    assert ("after migrate", one.name) in steps
    assert ("after migrate", two.name) not in steps
    assert (deployment.plan["site"]["keep"], deployment.plan["sources"]["keep"]) == (3, "devflow.yml line 1")

    # going back runs those around reloading alone, as the release had them
    commit(pair, "other hooks", "hooks: {}\n")
    site.check(site.deploy(), status="success", serves="other hooks")
    back = deployer.wait_ended(deployer.roll_back(site.environment))
    site.check(back, status="success", serves="with hooks")
    assert noted(site, one, deployment.release) == [*wanted, "after_reload /release"]


def test_the_file_against_the_panel(site: Site, pair: Estate, deployer: Deployer) -> None:
    hooks = [
        {"when": "before", "what": "activate", "command": note(site, "panel before")},
        {"when": "after", "what": "activate", "command": note(site, "panel after"), "where": "first"},
        {"when": "before", "what": "prepare", "command": note(site, "panel first"), "where": "first"},
    ]
    deployer.change(site.environment, hooks=hooks, keep=4)
    commit(pair, "both", f"hooks: {{before_activate: {note(site, 'file before')!r}}}\n")
    site.check(site.deploy(), status="success", serves="both")
    one, two = (noted(site, server, "-") for server in in_order(site))
    assert [line.split(" /")[0].strip() for line in one] == ["panel first", "file before", "panel after"]
    assert [line.split(" /")[0] for line in two] == ["file before"]

    projects.project_update(actor=deployer.actor, project=pair.project, reads_file=False)
    try:
        site.check(site.deploy(), status="success", serves="both")
    finally:
        projects.project_update(actor=deployer.actor, project=pair.project, reads_file=True)
    again = [line.split(" /")[0].strip() for line in noted(site, in_order(site)[0], "-")][3:]
    assert again == ["panel first", "panel before", "panel after"]


def test_an_invalid_file_touches_nothing(site: Site, pair: Estate, deployer: Deployer) -> None:
    commit(pair, "before", None)
    site.check(site.deploy(), status="success", serves="before")
    commit(pair, "after", "keep: 3\nhoks:\n  before_activate: x\n")
    deployment = site.deploy()
    error = ["devflow.yml:2:1: the file has no setting 'hoks'; did you mean 'hooks'?"]
    site.check(deployment, status="failed", serves="before", error=error)
    assert deployer.steps(deployment) == []
    for server in site.servers:
        assert len(site.left(deployment, server).releases) == 1
    commit(pair, "mended", "keep: 3\n")
    site.check(site.deploy(), status="success", serves="mended")


@pytest.mark.parametrize(
    ("place", "status", "on"),
    [
        ("before_activate", "failed", "all"),
        ("after_activate", "rolled_back", "first"),
        ("after_verify", "rolled_back", "all"),
        ("before_prepare", "failed", "first"),
    ],
)
def test_a_hook_that_fails_is_taken_back(site: Site, pair: Estate, place: str, status: str, on: str) -> None:
    commit(pair, "good", f"hooks: {{after_reload: {note(site, 'reloaded')!r}}}\n")
    site.check(site.deploy(), status="success", serves="good")
    reload = f"after_reload: {note(site, 'reloaded')!r}"
    commit(pair, "bad", f"hooks:\n  {place}: {{run: 'echo no luck >&2; exit 7', on: {on}}}\n  {reload}\n")
    when, _, what = place.partition("_")
    error = [f"step '{when} {what}: echo no luck >&2; exit 7' failed with exit code 7: no luck"]
    site.check(site.deploy(), status=status, serves="good", error=error)
    again = [line for line in noted(site, site.servers[0], "-") if line.endswith("/current")]
    assert again == (["reloaded /current"] if status == "rolled_back" else [])


def test_a_fresh_repository_deploys_by_its_file_alone(
    deployer: Deployer, worker: WorkerProcess, repository: GitRepository, vps: Vps, pair: Estate
) -> None:
    """Recipe, shared folder, changed command and health check, all of one environment, from the repository."""
    file = """\
recipe: static
shared: {folders: [uploads]}
commands: {npm run build: "mkdir -p dist && echo built >dist/out"}
environments:
  live:
    hooks: {before_activate: {run: 'test -L uploads && test -f dist/out && echo "$GREETING" >greeting'}}
"""
    repository.commit({"index.html": "page", "package.json": "{}", "devflow.yml": file})
    slug = f"alone-{secrets.token_hex(3)}"
    project = deployer.add_project(slug, repository.path, recipe="", reads_file=True)
    root = f"{WEB_ROOT}/{slug}"
    live: Environment = deployer.add_environment(project, "live", servers=[vps.name], root=root)
    deployer.set_variables(live, {"GREETING": "hello there"})
    ended = deployer.deploy(live)
    assert ended.status == "success", deployer.describe(ended)
    assert vps.run(f"cat {root}/current/greeting").stdout == "hello there\n"
    assert ended.plan["sources"]["task_commands.npm run build"] == "devflow.yml line 3"
