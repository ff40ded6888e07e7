"""The pages of containers over what deployments really make: of a Dockerfile, and of a Compose project."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from django_scopes import scope

from devflow.apps.containers import selectors, services
from devflow.apps.containers.budgets import budget_set, disk_use, disk_warnings
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError
from devflow.core.shell import MASK
from tests.integration.test_compose import APP, FILE, Composed
from tests.integration.test_compose import QUICK as QUICK_COMPOSE
from tests.integration.test_dockerfile import Shop, server_of
from tests.support.container_app import DOCKERFILE, HEALTHCHECK
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.server_pages import ServerPages
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(500)

SECRET = "s3cret-mail-word"
TALKS = DOCKERFILE.replace(
    'CMD ["python3", "/server.py"]', 'CMD echo "the password is $MAIL_PASSWORD"; exec python3 /server.py'
)
DECLARES = f"{TALKS}VOLUME /scratch\n{HEALTHCHECK}"


@pytest.fixture
def pages(deployer: Deployer, vps_docker: Vps, worker: WorkerProcess) -> ServerPages:
    server_of(deployer, vps_docker)
    return ServerPages(deployer, deployer.server_of(vps_docker))


def roles(pages: ServerPages, environment: Environment) -> dict[str, tuple[str, str]]:
    """Part and state of each container that the page says is this environment's, by name."""
    rows = selectors.container_list(actor=pages.panel.actor, server=pages.server)
    return {row.name: (row.role, row.status) for row in rows if row.owner.environment == environment}


def assert_masked(pages: ServerPages, name: str) -> None:
    """Its log, which begins with the secret, is followed without it."""
    follow = pages.follow(name)
    wait_until(lambda: "password is" in pages.text(follow), 30, what=pages.panel.output)
    assert f"the password is {MASK}" in pages.text(follow)
    assert SECRET not in pages.text(follow)
    assert SECRET not in str(pages.look().content)


def assert_restarts_well(pages: ServerPages, name: str) -> None:
    before = pages.row(name).started_at
    done = pages.act(name, "restart")
    assert (done.state, done.message) == ("done", "It is running, healthy.")
    assert pages.row(name).started_at != before


def assert_counted(pages: ServerPages, environment: Environment, *, at_least: int) -> None:
    """What it takes, and that a plan warns where that is more than the budget."""
    project = environment.project
    (use,) = disk_use(actor=pages.panel.actor, project=project).servers
    assert use.images >= at_least, "the image with Python alone takes so much"
    assert use.images < 4 * at_least, "what images share is counted once"
    assert use.volumes >= 3_000_000
    assert use.containers >= 2_000_000
    assert use.folders > 0
    budget_set(actor=pages.panel.actor, project=project, megabytes=1)
    with scope(team=environment.team):
        assert "more than its budget of 1 MB" in disk_warnings(project)[0]
    budget_set(actor=pages.panel.actor, project=project, megabytes=0)


def base_size(vps: Vps) -> int:
    return int(vps.run("docker image inspect --format '{{.Size}}' devflow-base").stdout)


def test_what_a_dockerfile_is_deployed_as(pages: ServerPages, vps_docker: Vps, tmp_path: Path) -> None:
    deployer, vps = pages.panel, vps_docker
    shop = Shop(deployer, vps, tmp_path)
    volume, name = f"data-{secrets.token_hex(3)}", f"devflow-{shop.environment.pk.hex}"
    deployer.set_variables(shop.environment, {"MAIL_PASSWORD": SECRET})
    deployer.change(shop.environment, recipe_options={"volumes": f"{volume}:/data"})
    shop.commit("one", DECLARES)
    first = shop.deploy()
    assert "the image declares VOLUME for /scratch, and" in shop.log(first)
    assert shop.page("/count") == "1"
    shop.commit("two", DECLARES)
    shop.deploy()
    shop.commit("ill", DECLARES, health=500)
    ill = shop.deploy("failed")
    live, other = (f"{name}-{colour}" for colour in (shop.live(), {"blue": "green", "green": "blue"}[shop.live()]))

    pages.look()
    shown = roles(pages, shop.environment)
    assert shown[live] == ("live", "healthy")
    assert set(shown) <= {live, other}, "the ill release took the other's place, and is gone"
    shop.commit("three", DECLARES)
    shop.deploy()
    live, other = other, live
    pages.look()
    assert roles(pages, shop.environment) == {live: ("live", "healthy"), other: ("standby", "healthy")}
    images = selectors.image_list(actor=deployer.actor, server=pages.server)
    ours = [row for row in images if row.owner.environment == shop.environment]
    assert {row.found["id"] for row in ours} == set(shop.images())
    assert {used for row in ours for used in row.used_by} == {live, other}
    volumes = {row.found["name"]: row for row in selectors.volume_list(actor=deployer.actor, server=pages.server)}
    assert volumes[volume].owner.environment == shop.environment
    assert set(volumes[volume].used_by) == {live, other}
    unnamed = {row.found["name"] for row in volumes.values() if set(row.used_by) & {live, other}} - {volume}
    assert len(unnamed) == 2, "one for each container"
    assert {key for key in volumes if len(key) == 64} == unnamed, "none is left of containers that are gone"

    assert_masked(pages, live)
    assert_restarts_well(pages, live)
    assert shop.page() == "three"
    with pytest.raises(ConflictError, match="serves"):
        services.container_act(actor=deployer.actor, row=pages.row(live), kind="stop")

    # superfluous is what a deployment that failed has left, when a finished one has not cleaned up after it
    shop.commit("ill again", DECLARES, health=500)
    ill = shop.deploy("failed")
    preview = pages.preview(with_volumes=True)
    assert [(each.kind, each.id) for each in preview.candidates] == [("image", ill.observed["image"])]
    vps.run(f"docker exec {live} sh -c 'head -c 3000000 /dev/zero >/data/big; head -c 2000000 /dev/zero >/more'")
    done = pages.prune(preview)
    assert (done.state, [each["outcome"] for each in done.result]) == ("done", ["removed"])
    assert ill.observed["image"] not in shop.images()
    assert shop.page() == "three"
    assert int(shop.page("/count")) == 2
    assert_counted(pages, shop.environment, at_least=base_size(vps))
    back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 60)
    assert back.status == "success", deployer.describe(back)
    assert shop.page() == "one"
    assert shop.page("/count") == "3", "the volume is the same"


def test_one_on_standby_keeps_what_it_wrote(pages: ServerPages, vps_docker: Vps, tmp_path: Path) -> None:
    """Also where it was stopped: it is started as it is."""
    deployer = pages.panel
    shop = Shop(deployer, vps_docker, tmp_path)
    shop.commit("one", f"{DOCKERFILE}VOLUME /data\n")
    first = shop.deploy()
    assert shop.page("/count") == "1"
    old = f"devflow-{shop.environment.pk.hex}-{shop.live()}"
    shop.commit("two", f"{DOCKERFILE}VOLUME /data\n")
    shop.deploy()
    vps_docker.run(f"docker stop -t 1 {old}")
    pages.look()
    assert roles(pages, shop.environment)[old] == ("standby", "exited")
    assert pages.preview(with_volumes=True).candidates == ()
    back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 60)
    assert back.status == "success", deployer.describe(back)
    assert (shop.page(), shop.page("/count")) == ("one", "2")


def test_what_recreate_stopped_is_started_again_as_it_was(pages: ServerPages, vps_docker: Vps, tmp_path: Path) -> None:
    deployer = pages.panel
    shop = Shop(deployer, vps_docker, tmp_path)
    deployer.change(shop.environment, strategy="recreate", strategy_options={"watch_seconds": "1"})
    shop.commit("one", f"{DOCKERFILE}VOLUME /data\n")
    shop.deploy()
    assert shop.page("/count") == "1"
    shop.commit("ill", f"{DOCKERFILE}VOLUME /data\n", ends_after=0.1)
    ended = deployer.deploy(shop.environment, timeout_seconds=120)
    assert ended.status in ("failed", "rolled_back"), deployer.describe(ended)
    assert (shop.page(), shop.page("/count")) == ("one", "2")
    shop.commit("two", f"{DOCKERFILE}VOLUME /data\n")
    shop.deploy()
    assert (shop.page(), shop.page("/count")) == ("two", "1")
    pages.look()
    assert list(roles(pages, shop.environment).values()) == [("live", "running")], "nothing that was set aside is left"


def test_what_a_compose_project_is_deployed_as(pages: ServerPages, vps_docker: Vps, tmp_path: Path) -> None:
    deployer, vps = pages.panel, vps_docker
    name = f"composed-{secrets.token_hex(3)}"
    repository = GitRepository.on_server(vps, f"/home/deploy/{name}.git", tmp_path / name)
    repository.commit_folder(APP)
    project = deployer.add_project(name, repository.path, recipe="compose")
    root = f"/srv/www/{name}"
    environment = deployer.add_environment(
        project,
        "production",
        servers=[vps.name],
        root=root,
        strategy="blue-green",
        strategy_options=QUICK_COMPOSE,
        proxy="nginx",
        domains=[f"{name}.test"],
    )
    deployer.set_variables(environment, {"CLOCK": f"{name}-clock", "MAIL_PASSWORD": SECRET})
    composed = Composed(deployer, vps, repository, environment, name, root)
    try:
        _check_composed(pages, composed)
    finally:
        for each in (f"{composed.base}-blue", f"{composed.base}-green", composed.base):
            mine = f"--filter label=com.docker.compose.project={each}"
            composed.run(f"docker ps -aq {mine} | xargs -r docker rm --force --volumes")


def _check_composed(pages: ServerPages, composed: Composed) -> None:
    deployer, environment, base = pages.panel, composed.environment, composed.base
    talks = (
        (APP / "server.py")
        .read_text()
        .replace(
            'if ROLE == "once":',
            'print("the password is", os.environ.get("MAIL_PASSWORD"), flush=True)\nif ROLE == "once":',
        )
    )
    composed.deploy("one", server_py=talks, compose_yaml=FILE)
    composed.write("line1")
    composed.deploy("two")
    sick = composed.deploy("sick", "sick", status="failed")
    composed.deploy("three")
    sick = composed.deploy("sick again", "sick", status="failed")

    pages.look()
    shown = roles(pages, environment)
    colour = composed.run(f"cut -d ' ' -f 1 {composed.root}/.devflow/live")
    live = f"{base}-{colour}-web-{colour}-1"
    assert shown[live] == ("live", "healthy")
    assert shown[f"{base}-db-1"] == ("live", "healthy")
    assert shown[f"{composed.name}-clock"] == ("live", "running")
    assert {each for each in shown if each.startswith(f"{base}-{colour}")} == {
        f"{base}-{colour}-{service}-{colour}-1" for service in ("web", "api", "prepare")
    }
    volumes = {row.found["name"]: row for row in selectors.volume_list(actor=deployer.actor, server=pages.server)}
    assert volumes[f"{base}_data"].owner.environment == environment
    networks = selectors.network_list(actor=deployer.actor, server=pages.server)
    assert {row.owner.environment for row in networks if row.found["name"].startswith(base)} == {environment}

    assert_masked(pages, live)
    assert_restarts_well(pages, live)
    assert composed.page() == "version three"

    preview = pages.preview(with_volumes=True)
    names = [each for candidate in preview.candidates for each in candidate.names]
    assert {candidate.kind for candidate in preview.candidates} == {"image"}
    assert f"{base}-web:{sick.release}" in names
    assert {each.rpartition(":")[2] for each in names} <= {sick.release, sick.commit[:12]}
    composed.run(
        f"docker exec {base}-db-1 sh -c 'head -c 3000000 /dev/zero >/data/big; head -c 2000000 /dev/zero >/more'"
    )
    done = pages.prune(preview)
    assert (done.state, {each["outcome"] for each in done.result}) == ("done", {"removed"}), done.result
    assert f"{base}-web:{sick.release}" not in composed.run("docker image ls --format '{{.Repository}}:{{.Tag}}'")
    assert_counted(pages, environment, at_least=base_size(composed.vps))
    composed.roll_back("one")
    assert composed.page() == "version one"
    assert composed.page("/ask/db/lines") == "line1"
