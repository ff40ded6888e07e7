"""`recreate`: the release that runs is stopped, then the new one started in its place, checked and watched.

For what cannot run twice, or may be away for a moment. Where the new one does not become healthy, the one before is
started again. Over any runtime; Compose projects are brought up in place, where only what has changed is recreated.
"""

from __future__ import annotations

from devflow.commands import releases
from devflow.engine.plan import Site
from devflow.engine.task import Option, Phase, Recipe, Runtime, Task
from devflow.strategies import atomic, colours, proxy
from devflow.strategies.colours import HARMLESS, own

TITLE = "Recreate"
HELP = "The old release is stopped, then the new one started: away for a moment, and nothing runs twice."
OPTIONS: tuple[Option, ...] = (
    colours.CHECKS,
    colours.CHECK_PATH,
    colours.START_SECONDS,
    colours.WATCH_SECONDS,
    colours.number(
        "drain_seconds", "Time to stop (s)", "How long the old release may take to end by itself.", 10, 9999
    ),
)
_BACK = "the release before is started again"


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    if recipe.runtime is None:
        return f"The panel does not start applications of the recipe {recipe.name} itself. Choose atomic."
    if not site.port and (site.proxy or recipe.name != "compose"):
        return "recreate needs a local port: save the settings of the environment once, it is chosen then."
    return proxy.problem(site)


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment."""
    assert recipe.runtime
    return [
        *atomic.prepare(site, recipe, checks=_checks(site, recipe.runtime)),
        *_go_live(site, recipe),
        *_take_back(recipe.runtime, keeps_release=False),
    ]


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of going back to a kept release."""
    assert recipe.runtime
    return [
        *atomic.prepare_rollback(site, checks=_checks(site, recipe.runtime)),
        own(
            "check kept",
            Phase.PREFLIGHT,
            f"{colours.functions(recipe.runtime, 'keeps')}runtime_keeps\n",
            HARMLESS,
            "what the release runs from is still on the server",
        ),
        *_go_live(site, recipe),
        *_take_back(recipe.runtime, keeps_release=True),
    ]


def _checks(site: Site, runtime: Runtime) -> list[Task]:
    need = f"what {runtime.title} need"
    return [
        *proxy.checks(site),
        own(f"check {runtime.title}", Phase.PREFLIGHT, colours.colour_check(runtime), HARMLESS, need),
    ]


def _go_live(site: Site, recipe: Recipe) -> list[Task]:
    runtime = recipe.runtime
    assert runtime
    has_port = bool(site.proxy) or recipe.name != "compose"
    return [
        own(
            "stop and start",
            Phase.ACTIVATE,
            colours.functions(runtime, "start", "look", "stop", "remove") + _START,
            _BACK,
            "stop the release that runs, start the new one in its place",
        ),
        *([colours.check_task(site, runtime)] if has_port else []),
        own("go live", Phase.ACTIVATE, _switch(site, runtime), _BACK, f"{site.root}/current -> releases/<release>"),
        *atomic.verify(site),
        colours.watch_task(runtime),
        own(
            "settle",
            Phase.FINISH,
            colours.functions(runtime) + "tell_colour standby\n",
            HARMLESS,
            "there is no colour on standby",
        ),
        *atomic.finish(site, recipe, prune=f"{colours.functions(runtime, 'prune')}runtime_prune\n"),
    ]


_START = r"""
read_colours
plan_traffic "${live_colour:-blue}" "$release" new
read_traffic
on_new_port "$next_colour" "$release"
if [ -n "$spare_colour" ]; then
  echo "Removing $spare_colour ($spare_release), which was on standby"
  with_colour "$spare_colour" "$spare_release" runtime_remove
  tell_colour standby
fi
if [ -n "$old_colour" ]; then
  echo "Stopping $old_release"
  with_colour "$old_colour" "$old_release" runtime_stop
fi
echo "Starting $release"
with_colour "$next_colour" "$release" runtime_start
be_patient
with_colour "$next_colour" "$release" runtime_look
"""


def _switch(site: Site, runtime: Runtime) -> str:
    if site.proxy:
        return colours.switch(site, runtime, servers='"127.0.0.1:$port"')
    return (
        colours.functions(runtime, "enable")
        + "read_traffic\n"
        + releases.ACTIVATE
        + 'with_colour "$next_colour" "$release" runtime_enable\n'
        + 'tell_colour live "$next_colour" "$release"\n'
    )


def _take_back(runtime: Runtime, *, keeps_release: bool) -> list[Task]:
    back = colours.functions(runtime, "start", "look", "stop", "remove", "enable") + _TAKE_BACK + proxy.BACK
    return atomic.take_back(keeps_release=keeps_release, before=back)


# The old release takes the place of the new one again, unless the new one never came to take it.
_TAKE_BACK = r"""
if [ -f "$traffic" ]; then
  read_traffic
  with_colour "$next_colour" "$next_release" runtime_stop || :
  tell_colour live "$old_colour" "$old_release"
  tell_colour standby
  if [ -n "$old_colour" ]; then
    echo "Starting $old_release again"
    with_colour "$old_colour" "$old_release" runtime_start
    be_patient
    with_colour "$old_colour" "$old_release" runtime_look
    with_colour "$old_colour" "$old_release" runtime_enable
    note took_back "$old_release"
  else
    with_colour "$next_colour" "$next_release" runtime_remove
  fi
  rm -f "$traffic"
fi
"""
