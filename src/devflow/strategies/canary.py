"""`canary`: the release runs beside the old one and gets a small share of the requests, then more.

Each share lasts for a while. By nginx's access log it is judged whether more requests fail than with the release
before, or take longer: then the old release gets everything again, at once. A person can hold, resume, promote, abort.
"""

from __future__ import annotations

from dataclasses import replace

from devflow.commands import canary, nginx
from devflow.core.shell import quote
from devflow.engine.plan import Site
from devflow.engine.task import Option, Phase, Recipe, Runtime, Task
from devflow.strategies import blue_green, colours

TITLE = "Canary"
HELP = "The release gets a small share of the requests, then more, as long as nginx's log shows it to be as good."
STEPS = Option(
    "steps",
    "Shares (%)",
    "The shares of the requests that the release gets one after the other, rising, with spaces between them.",
    default="5 25 50 100",
    pattern=r"[1-9]\d?( [1-9]\d?)*( 100)?|100",
)
OPTIONS: tuple[Option, ...] = (
    STEPS,
    colours.number("step_seconds", "Each for (s)", "How long the release gets each share.", 300, 99999),
    colours.number(
        "max_errors",
        "Errors (%)",
        "How many percent of the requests may fail (500 and above) beyond those of the release before.",
        1,
        100,
    ),
    Option(
        "latency_factor",
        "Slower by",
        "How many times as long 95 % of the requests may take, at most, as with the release before. 0: not judged.",
        default="2",
        pattern=r"\d{1,2}(\.\d)?",
    ),
    colours.number("min_requests", "Requests to judge", "With fewer than these the release is not judged.", 50, 99999),
    Option(
        "hold_minutes",
        "Held at most (min)",
        "How long it may be held by hand; then the release is taken back. From 1 to 9999.",
        default="1440",
        pattern=r"[1-9]\d{0,3}",
    ),
    *colours.OPTIONS,
)


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    if clashes := clash(site):
        return next(iter(clashes.values()))
    if len(site.targets) > 1:
        return "canary works on one server. Choose rolling for several."
    if site.proxy_template and "devflow_@environment@" not in site.proxy_template:
        return (
            "canary judges by the access log of the panel's own site file: begin with that, or put its log_format and "
            "access_log into your own."
        )
    return colours.problem(site, recipe, "canary")


def clash(site: Site) -> dict[str, str]:
    """Settings that do not go together, whatever is deployed: by name, why."""
    shares = [int(share) for share in _option(site, "steps").split()]
    if shares != sorted(set(shares)):
        return {"strategy_options.steps": "The shares of canary must rise, like 5 25 50 100."}
    return {}


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment: those of blue-green, with the shares before the switch."""
    runtime = recipe.runtime
    assert runtime  # see problem
    tasks: list[Task] = []
    for task in blue_green.deploy(site, recipe):
        if task.name == "switch":
            tasks.append(_shares(site, runtime))
        if task.name == "check nginx":
            task = replace(task, command=task.command + canary.CHECK)
        elif task.name == "take back":
            task = replace(task, command=canary.BACK + task.command)
        elif task.name == "unlock":
            task = replace(task, command=canary.FORGET + task.command)
        tasks.append(task)
    return tasks


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """Going back is done at once, as with blue-green."""
    return blue_green.rollback(site, recipe)


def _shares(site: Site, runtime: Runtime) -> Task:
    names = ("step_seconds", "max_errors", "latency_factor", "min_requests", "hold_minutes")
    values = "".join(f"{name}={quote(_option(site, name))}\n" for name in names)
    functions = colours.functions(runtime, "look") + nginx.FUNCTIONS + canary.FUNCTIONS
    shares = " %, ".join(share for share in _option(site, "steps").split() if share != "100")
    return colours.own(
        "canary",
        Phase.ACTIVATE,
        functions + values + canary.RUN,
        colours.SWITCHED_BACK,
        f"{shares} % of the requests, each for {_option(site, 'step_seconds')} s, judged by nginx's access log",
    )


def _option(site: Site, name: str) -> str:
    default = next(option.default for option in OPTIONS if option.name == name)
    return (site.strategy_options or {}).get(name) or default
