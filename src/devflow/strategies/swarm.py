"""`swarm`: a Compose file as a stack of a Docker Swarm; the swarm replaces replica by replica, and back by itself.

The environment's servers are the nodes of a cluster; the first by name is a manager and deploys. Every server builds or
pulls the images, so that no registry is needed. What came of it is read from the swarm's update status and tasks.
"""

from __future__ import annotations

from dataclasses import replace

from devflow.commands import releases, stack
from devflow.core import services
from devflow.core.services import Composition, Facts, Service
from devflow.engine.plan import Site
from devflow.engine.task import Option, Phase, Recipe, Task, Where
from devflow.strategies import atomic

TITLE = "Swarm stack"
HELP = "The Compose file as a stack of a cluster: replicas over its nodes, replaced one after the other."
OPTIONS: tuple[Option, ...] = (
    Option(
        name="stack",
        title="Name of the stack",
        help="What its services are called by in the swarm. Empty: project and environment, like shop-production.",
        pattern=r"([a-z0-9][a-z0-9_-]{0,62})?",
    ),
    Option(
        name="monitor_seconds",
        title="Watch each replica (s)",
        help="One that ends within so many seconds has the swarm roll the update back. From 1 to 3600.",
        default="5",
        pattern=r"[1-9][0-9]{0,3}",
    ),
    Option(
        name="wait_seconds",
        title="Time to converge (s)",
        help="When not all replicas run by then, the release is taken back. From 1 to 9999.",
        default="300",
        pattern=r"[1-9][0-9]{0,3}",
    ),
)
_HARMLESS = "changes nothing that is served"
_BACK = "the stack of the release before is deployed again"
_IN_PLACE = ("recreate services",)
"""Tasks of the recipe that are for a Compose project on one server."""


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    if recipe.name != "compose":
        return f"A stack is made of a Compose file; the recipe here is {recipe.name}. Choose another strategy."
    if site.proxy:
        return "A swarm publishes its ports itself: choose no proxy, and balance over the nodes in front of it."
    return ""


def fit(recipe: Recipe) -> Recipe:
    """The recipe without what it does on a single server."""
    return replace(recipe, tasks=tuple(task for task in recipe.tasks if task.name not in _IN_PLACE), runtime=None)


def treat(composition: Composition) -> tuple[Service, ...]:
    """What is done with each service, for the plan. The swarm leaves alone what has not changed."""
    return tuple(_treat(facts) for facts in composition.services)


def warnings(composition: Composition) -> tuple[str, ...]:
    """Services that a swarm may start on another node, where what they have written is not."""
    volumes = {volume.key: volume for volume in composition.volumes}
    told = []
    for facts in composition.services:
        places = [
            f"the volume {place}" if place in volumes else f"the folder {place}"
            for place in services.written(facts)
            if place not in volumes or volumes[place].is_local
        ]
        places += [f"{place}, a volume without a name" for place in facts.unnamed]
        if places and not facts.is_pinned:
            told.append(
                f"The service {facts.name} writes {', '.join(places)}, which each node has for itself: when the node "
                "is drained or lost, it starts elsewhere with an empty one. Pin it to a node (in the file under "
                "deploy.placement.constraints: node.hostname == …), or give it a volume on a file server."
            )
    return tuple(told)


def _treat(facts: Facts) -> Service:
    if facts.label != "true" and (services.written(facts) or facts.label == "false"):
        why = "keeps data" if services.written(facts) else "its label devflow.replace says that two may not run"
        return Service(facts.name, services.RECREATED, f"{why}: where it has changed, the old task ends first")
    return Service(facts.name, services.REPLACED, "where it has changed, replica by replica; the new one starts first")


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment."""
    return [
        *atomic.prepare(site, recipe, checks=_checks(site)),
        *_go_live(site, recipe, is_new=True),
        *_take_back(keeps_release=False),
    ]


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of going back to a kept release."""
    return [
        *atomic.prepare_rollback(site, checks=_checks(site)),
        _own("check kept", Phase.PREFLIGHT, stack.KEEPS, _HARMLESS, "the release's images are still on the server"),
        *_go_live(site, recipe, is_new=False),
        *_take_back(keeps_release=True),
    ]


def _checks(site: Site) -> list[Task]:
    servers = f"stack_servers={len(site.targets)}\n"
    return [
        _own("check Docker", Phase.PREFLIGHT, stack.CHECK, _HARMLESS, "Docker, Compose and jq"),
        _own(
            "check swarm",
            Phase.PREFLIGHT,
            servers + stack.CHECK_MANAGER,
            _HARMLESS,
            "the first is a manager, all nodes are servers of the environment, the stack is its own",
        ),
    ]


def _go_live(site: Site, recipe: Recipe, *, is_new: bool) -> list[Task]:
    made = [
        _own("name images", Phase.MIGRATE, stack.PREPARE, _HARMLESS, "the images under a name that all nodes know"),
        _own(
            "specify stack",
            Phase.MIGRATE,
            stack.SPECIFY,
            _HARMLESS,
            "services, replicas and how each is updated: start-first unless it keeps data or has a port of the host",
            where=Where.FIRST,
        ),
    ]
    deployed = _own(
        "deploy stack",
        Phase.ACTIVATE,
        stack.DEPLOY,
        _BACK,
        "docker stack deploy; converged when every replica runs the new specification and nothing changes any more",
        where=Where.FIRST,
    )
    prune, unlock = atomic.finish(site, recipe, prune=stack.PRUNE)
    switch = f"one rename: {site.root}/current -> releases/<release>"
    return [
        *(made if is_new else ()),
        deployed,
        _own("activate", Phase.ACTIVATE, releases.ACTIVATE, "the link goes back", switch),
        *atomic.verify(site),
        prune,
        replace(unlock, command=unlock.command + stack.FORGET),
    ]


def _take_back(*, keeps_release: bool) -> list[Task]:
    link, clean = atomic.take_back(keeps_release=keeps_release)
    back = _own(
        "take stack back",
        Phase.UNDO,
        stack.BACK,
        _HARMLESS,
        "only after a failure: the recorded specification of the release before",
        where=Where.FIRST,
    )
    return [back, link, clean]


def _own(name: str, phase: Phase, command: str, undo: str, summary: str, *, where: Where = Where.ALL) -> Task:
    return Task(name=name, phase=phase, command=command, undo=undo, is_builtin=True, summary=summary, where=where)
