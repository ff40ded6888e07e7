"""What strategies with two colours have in common, over any runtime: start, check, move traffic, and the way back.

Shell functions `runtime_<name>` hold the runtime's texts; they run with the variables of one colour (`with_colour`).
"""

from __future__ import annotations

from devflow.commands import colours, health, nginx, releases
from devflow.core.shell import quote
from devflow.engine.plan import Site
from devflow.engine.task import Option, Phase, Recipe, Runtime, Task
from devflow.strategies import proxy

_PATH = r"/[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*"
HARMLESS = "changes nothing that is served"
COLOUR_REMOVED = "the new colour is removed"
SWITCHED_BACK = "traffic goes back to the colour before"


def number(name: str, title: str, help_text: str, default: int, most: int) -> Option:
    """A whole number from 0 to `most` (of as many digits)."""
    digits = len(str(most))
    return Option(name, title, f"{help_text} From 0 to {most}.", default=str(default), pattern=rf"\d{{1,{digits}}}")


WARM_PATHS = Option(
    "warm_paths",
    "Warm up",
    "Paths that are asked once, before the release serves, with spaces between them: / /login.",
    pattern=rf"({_PATH}( {_PATH})*)?",
)
CHECK_PATH = Option(
    "check_path",
    "Path of the check",
    "Asked of the new release on its own port. Empty: the path of the health check, or /.",
    pattern=f"({_PATH})?",
)
CHECKS = number("checks", "Good checks in a row", "How many answers in a row must be good before it serves.", 3, 99)
START_SECONDS = number("start_seconds", "Time to start (s)", "How long it may take until the checks are good.", 60, 999)
WATCH_SECONDS = number("watch_seconds", "Watch (s)", "How long it must then run without a break.", 15, 999)
DRAIN_SECONDS = number(
    "drain_seconds",
    "Time to drain (s)",
    "How long requests and WebSockets of the old release may go on before it is stopped.",
    30,
    9999,
)
STANDBY_MINUTES = number(
    "standby_minutes", "Standby (min)", "How long the old release goes on running, for an instant way back.", 30, 9999
)
OPTIONS = (CHECKS, CHECK_PATH, WARM_PATHS, START_SECONDS, WATCH_SECONDS, DRAIN_SECONDS, STANDBY_MINUTES)


def problem(site: Site, recipe: Recipe, strategy: str) -> str:
    """Why the site cannot have two colours behind nginx, '' where it can."""
    if recipe.runtime is None:
        return f"The recipe {recipe.name} cannot run two releases side by side, which {strategy} needs. Choose atomic."
    if site.proxy != "nginx" or not site.domains:
        return f"{strategy} moves traffic in nginx: choose nginx as proxy and give the environment a domain."
    if not site.port:
        return f"{strategy} needs two local ports: save the settings of the environment once, they are chosen then."
    return ""


def functions(runtime: Runtime, *names: str) -> str:
    """Shell functions for these texts of the runtime, and those of the two colours."""
    texts = ((name, getattr(runtime, name)) for name in names)
    made = "".join(f"runtime_{name}() {{\n{text or ':'}\n}}\n" for name, text in texts)
    return f"{colours.FUNCTIONS}drain_seconds=${{strategy_drain_seconds:-30}}\n{made}"


def check_tasks(site: Site, runtime: Runtime) -> list[Task]:
    """Preflight: the proxy, what the runtime needs, the two ports."""
    return [
        *proxy.checks(site),
        own(f"check {runtime.title}", Phase.PREFLIGHT, colour_check(runtime), HARMLESS, f"what {runtime.title} need"),
        own(
            "check ports",
            Phase.PREFLIGHT,
            colours.CHECK,
            HARMLESS,
            f"127.0.0.1:{site.port} (blue) and :{site.port + 1} (green) are free, or this environment's",
        ),
    ]


def colour_check(runtime: Runtime) -> str:
    """The runtime's check, for the colour that is next."""
    next_colour = 'read_colours\nas_colour "$(other_colour "${live_colour:-green}")" ""\n'
    return f"{functions(runtime, 'check')}{next_colour}runtime_check\n"


def start_task(runtime: Runtime) -> Task:
    """Starts the release as the colour that does not serve; one that still runs on standby is taken as it is."""
    command = functions(runtime, "start", "look", "remove") + colours.START
    return Task(
        name="start",
        phase=Phase.ACTIVATE,
        command=command,
        undo=COLOUR_REMOVED,
        is_builtin=True,
        summary="start the release beside the one that serves, on the other port",
        waits=True,
    )


def check_task(site: Site, runtime: Runtime) -> Task:
    """Warms the release up, and asks it until it has answered well so many times in a row."""
    options = site.strategy_options or {}
    path = options.get("check_path") or (site.health.url if site.health and site.health.url.startswith("/") else "/")
    wanted = str(site.health.status) if site.health else "[23]??"
    values = (
        f"path_of_check={quote(path)} wanted={quote(wanted)} host={quote(health.host_of(site.domains))}\n"
        f"text={quote(site.health.text if site.health else '')}\n"
    )
    return own(
        "check colour",
        Phase.ACTIVATE,
        functions(runtime, "look", "words") + values + colours.CHECK_COLOUR,
        COLOUR_REMOVED,
        f"warm up; {path} of the new colour answers well {options.get('checks', '')} times in a row",
    )


def switch(site: Site, runtime: Runtime, *, servers: str) -> str:
    """Shell text that sends traffic to `servers`, shell words of the upstream over `$port` of the next colour and
    `$old_port`, and makes the release the current one."""
    return (
        functions(runtime, "enable")
        + nginx.FUNCTIONS
        + "read_traffic\n"
        + 'if [ -n "$old_colour" ]; then as_colour "$old_colour" "$old_release"; old_port=$port; fi\n'
        + 'as_colour "$next_colour" "$release"\n'
        + nginx.install(proxy.site_text(site, "upstream"), servers=servers)
        + 'with_colour "$next_colour" "$release" runtime_enable\n'
        + releases.ACTIVATE
        + nginx.RELOAD
        + _STILL_RUNS
        + 'tell_colour live "$next_colour" "$release"\ntell_colour standby "$old_colour" "$old_release"\n'
        + 'echo "$domains: traffic goes to $next_colour ($release)"\n'
    )


# Where nginx is killed in this moment, its old workers are gone as they are after a reload.
_STILL_RUNS = """\
nginx_runs || start_nginx || explain "nginx on $server ended meanwhile and does not start: systemctl status nginx"
"""


def watch_task(runtime: Runtime) -> Task:
    """The release that serves runs on for a while."""
    command = functions(runtime, "look") + colours.WATCH
    return own("watch", Phase.VERIFY, command, HARMLESS, "no restart of the new colour for the time of the watch")


def retire_task(site: Site, runtime: Runtime) -> Task:
    """The old colour goes on for its time on standby, and is then stopped, by a timer of the server's."""
    command = functions(runtime, "stop", "disable") + _keep_retire(site, runtime) + colours.RETIRE
    return own(
        "retire",
        Phase.FINISH,
        command,
        "the old colour is started again",
        "drain and stop the old colour, now or after its time on standby",
    )


def _keep_retire(site: Site, runtime: Runtime) -> str:
    """Keeps beside the site what stops a colour that was on standby, for the server's own timer: it does nothing while
    a deployment holds the lock, or when that colour is another by now."""
    values = {
        "environment": site.environment_id,
        "root": site.root,
        "site": site.name,
        "blue_port": str(site.port),
        "green_port": str(site.port + 1),
        "drain_seconds": (site.strategy_options or {}).get("drain_seconds", "") or "30",
        "deployment": "retire",
        **{f"option_{name}": value for name, value in (site.options or {}).items()},
    }
    head = "".join(f"{name}={quote(value)}\n" for name, value in values.items())
    text = (
        f"{head}server=here; run=$(mktemp -d) || exit 1\ntrap 'rm -rf \"$run\"' EXIT\n"
        'explain() { echo "$*" >&2; exit 1; }\nnote() { :; }\nset -e\n'
        f"{functions(runtime, 'stop')}drain_seconds={quote(values['drain_seconds'])}\n{colours.RETIRE_LATER}"
    )
    return f'printf "%s\\n" {quote(text)} >"$root/.devflow/retire"\n'


def take_back(runtime: Runtime) -> str:
    """Shell text of the way back: the colour before runs and has the traffic again, the new one is gone."""
    return functions(runtime, "start", "look", "remove", "enable", "disable") + nginx.FUNCTIONS + colours.TAKE_BACK


def own(name: str, phase: Phase, command: str, undo: str, summary: str) -> Task:
    """A task of the panel's own."""
    return Task(name=name, phase=phase, command=command, undo=undo, is_builtin=True, summary=summary)
