"""The strategies: what the panel itself does in a deployment."""

from __future__ import annotations

from devflow.engine.plan import HealthCheck
from devflow.engine.task import Phase, Task
from devflow.strategies import STRATEGIES, atomic
from tests.support.plans import RECIPE, site_on


def names(tasks: list[Task]) -> list[str]:
    return [task.name for task in tasks]


def test_the_registry() -> None:
    assert next(iter(STRATEGIES.items())) == ("atomic", atomic)
    for name, strategy in STRATEGIES.items():
        assert strategy.TITLE, name
        assert strategy.HELP, name
        options = [option.name for option in strategy.OPTIONS]
        assert len(options) == len(set(options)), name
        assert not [option.name for option in strategy.OPTIONS if option.problem(option.default)], name


def test_nothing_that_serves_is_touched_before_activation() -> None:
    tasks = atomic.deploy(site_on("web1"), RECIPE)
    before = [task for task in tasks if task.phase in (Phase.PREFLIGHT, Phase.PREPARE)]
    assert before
    assert not [task for task in before if "mv -T" in task.command and '"$root/current"' in task.command]


def test_without_a_health_check_the_link_is_still_verified() -> None:
    tasks = names(atomic.deploy(site_on("web1", health=None), RECIPE))
    assert "verify release" in tasks
    assert "health check" not in tasks


def test_the_health_check_is_the_environments() -> None:
    health = HealthCheck(url="/it's up", status=204, text="$(id)", timeout_seconds=7, retries=2)
    (task,) = (task for task in atomic.deploy(site_on("web1", health=health), RECIPE) if task.name == "health check")
    assert """url='http://127.0.0.1/it'"'"'s up'; wanted=204; text='$(id)'; tries=3""" in task.command
    assert "-m 7 " in task.command


def test_shared_paths_of_recipe_and_environment_are_linked_once() -> None:
    site = site_on("web1", shared_files=(".env", "config.php"), shared_folders=("storage", "uploads"))
    (link,) = (task for task in atomic.deploy(site, RECIPE) if task.name == "link shared")
    called = [line for line in link.command.splitlines() if line.startswith("link_shared ")]
    assert called == [
        "link_shared .env file",
        "link_shared config.php file",
        "link_shared storage folder",
        "link_shared uploads folder",
    ]


def test_a_rollback_ends_and_is_undone_as_a_deployment_is() -> None:
    site = site_on("web1")
    deploy, rollback = atomic.deploy(site, RECIPE), atomic.rollback(site, RECIPE)
    live = (Phase.ACTIVATE, Phase.VERIFY, Phase.FINISH)
    assert [task for task in deploy if task.phase in live] == [task for task in rollback if task.phase in live]
    assert names(rollback)[-2:] == names(deploy)[-2:] == ["take back", "clean up"]


def test_what_reloads_is_kept_for_who_rolls_back_without_the_panel() -> None:
    (unlock,) = (task for task in atomic.deploy(site_on("web1"), RECIPE) if task.name == "unlock")
    assert "./reload" in unlock.command
    assert '"$root/.devflow/reload"' in unlock.command
