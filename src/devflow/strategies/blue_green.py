"""`blue-green`: the release starts beside the one that serves, is checked, and gets the traffic by one switch.

The old one goes on for a while: going back to it is one switch. Until the switch nothing that serves is touched.
"""

from __future__ import annotations

from devflow.engine.plan import Site
from devflow.engine.task import Option, Phase, Recipe, Task
from devflow.strategies import atomic, colours
from devflow.strategies.colours import HARMLESS, SWITCHED_BACK, own

TITLE = "Blue-green"
HELP = "The release runs beside the old one and is checked; then nginx sends it the traffic. Back by one switch."
OPTIONS: tuple[Option, ...] = colours.OPTIONS


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    return colours.problem(site, recipe, "blue-green")


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment."""
    runtime = recipe.runtime
    assert runtime  # see problem
    before = atomic.prepare(site, recipe, checks=colours.check_tasks(site, runtime))
    return [*before, *_go_live(site, recipe), *_take_back(recipe, keeps_release=False)]


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of going back to a kept release: one switch where it still runs on standby."""
    runtime = recipe.runtime
    assert runtime
    return [
        *atomic.prepare_rollback(site, checks=colours.check_tasks(site, runtime)),
        own(
            "check kept",
            Phase.PREFLIGHT,
            f"{colours.functions(runtime, 'keeps')}runtime_keeps\n",
            HARMLESS,
            "what the release runs from is still on the server",
        ),
        *_go_live(site, recipe),
        *_take_back(recipe, keeps_release=True),
    ]


def _go_live(site: Site, recipe: Recipe) -> list[Task]:
    runtime = recipe.runtime
    assert runtime
    switch = own(
        "switch",
        Phase.ACTIVATE,
        colours.switch(site, runtime, servers='"127.0.0.1:$port"'),
        SWITCHED_BACK,
        f"nginx sends {', '.join(site.domains)} to the new colour; {site.root}/current -> releases/<release>",
    )
    return [
        colours.start_task(runtime),
        colours.check_task(site, runtime),
        switch,
        *atomic.verify(site),
        colours.watch_task(runtime),
        colours.retire_task(site, runtime),
        *atomic.finish(site, recipe, prune=f"{colours.functions(runtime, 'prune')}runtime_prune\n"),
    ]


def _take_back(recipe: Recipe, *, keeps_release: bool) -> list[Task]:
    assert recipe.runtime
    return atomic.take_back(keeps_release=keeps_release, before=colours.take_back(recipe.runtime))
