"""A stack is planned for a manager, with its specification recorded before anything changes, and a way back."""

from __future__ import annotations

from devflow.core.services import Composition, Facts, Volume
from devflow.engine.plan import Plan, compose
from devflow.engine.task import Phase
from devflow.recipes import compose as compose_recipe
from devflow.recipes import static
from devflow.strategies import swarm
from tests.support.plans import site_on

RECIPE = swarm.fit(compose_recipe.RECIPE)


def plan(*, is_rollback: bool = False) -> Plan:
    site = site_on("one", "two", health=None)
    tasks = (swarm.rollback if is_rollback else swarm.deploy)(site, RECIPE)
    steps = compose(site, RECIPE, tasks, reload_only=is_rollback)
    return Plan("swarm", "compose", "r2", "", is_rollback, site, steps)


def test_only_a_compose_file_without_a_proxy_of_the_panel_is_taken() -> None:
    assert swarm.problem(site_on("one"), RECIPE) == ""
    assert "the recipe here is static" in swarm.problem(site_on("one"), static.RECIPE)
    assert "choose no proxy" in swarm.problem(site_on("one", proxy="nginx"), RECIPE)


def test_one_server_deploys_when_all_have_the_images() -> None:
    where = {step.task.name: step.servers for step in plan().steps}
    for name in ("specify stack", "deploy stack", "take stack back"):
        assert where[name] == ("one",)
    for name in ("images", "name images", "activate", "prune"):
        assert where[name] == ("one", "two")
    names = [step.task.name for step in plan().steps]
    assert names.index("images") < names.index("name images") < names.index("specify stack")
    assert names.index("specify stack") < names.index("deploy stack") < names.index("activate")


def test_the_stack_goes_back_before_the_lock_does() -> None:
    undo = [step.task.name for step in plan().undo.steps]
    assert undo == ["take stack back", "take back", "clean up"]


def test_the_plan_says_what_ends_before_the_new_one_starts() -> None:
    composition = Composition((Facts("web"), Facts("db", volumes=("data",))))
    assert [(each.name, each.treatment) for each in swarm.treat(composition)] == [
        ("web", "replaced"),
        ("db", "recreated"),
    ]


def test_the_plan_warns_of_what_may_start_on_a_node_without_its_data() -> None:
    volumes = (
        Volume("data", "x_data"),
        Volume("far", "x_far", "local", is_remote=True),
        Volume("own", "own", "rexray"),
    )
    composition = Composition(
        (
            Facts("db", volumes=("far", "data")),
            Facts("files", folders=("/srv/files", "/var/run/docker.sock", "./conf")),
            Facts("state", unnamed=("/state",)),
            Facts("pinned", volumes=("data",), is_pinned=True),
            Facts("far", volumes=("far", "own"), folders=("./conf",)),
            Facts("web"),
        ),
        volumes,
    )
    told = swarm.warnings(composition)
    assert [warning.partition(", which")[0] for warning in told] == [
        "The service db writes the volume data",
        "The service files writes the folder /srv/files",
        "The service state writes /state, a volume without a name",
    ]
    assert "starts elsewhere with an empty one" in told[0]
    assert "node.hostname ==" in told[0]


def test_the_plan_says_what_may_not_run_beside_itself() -> None:
    facts = (Facts("a", folders=("/srv/a",)), Facts("b", label="false"), Facts("c", volumes=("data",), label="true"))
    assert [each.treatment for each in swarm.treat(Composition(facts))] == ["recreated", "recreated", "replaced"]


def test_nothing_of_a_project_on_one_server_is_run() -> None:
    for made in (plan(), plan(is_rollback=True)):
        assert "recreate services" not in [step.task.name for step in made.steps]


def test_going_back_deploys_what_was_recorded() -> None:
    names = [step.task.name for step in plan(is_rollback=True).steps if step.task.phase is not Phase.UNDO]
    assert "deploy stack" in names
    assert {"images", "name images", "specify stack"}.isdisjoint(names)
