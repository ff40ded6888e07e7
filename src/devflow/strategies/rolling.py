"""`rolling`: several servers behind a balancer go live a few at a time; those get no requests meanwhile.

All are prepared first, as with `atomic`; containers, which do not go live by a link, take each other's place as with
`recreate`, behind the nginx of their server. Then, batch by batch: the balancer gives these servers no requests, they
go live and are checked, and they get requests again. Where one fails, what was done is taken back the same way. Never
are fewer servers ready than the set number: rather than that, the deployment stops.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import ModuleType

from devflow.commands import balancer, lock
from devflow.engine.plan import Round, Site, Target
from devflow.engine.task import Option, Phase, Recipe, Task, Where
from devflow.strategies import atomic, colours, recreate

TITLE = "Rolling"
HELP = "Several servers behind a balancer, a few at a time: these get no requests while they go live."
_ADDRESS = r"[A-Za-z0-9_.-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?"
OPTIONS: tuple[Option, ...] = (
    Option(
        "balancer",
        "Balancer",
        "What spreads the requests on the server that is set as balancer.",
        default="nginx",
        choices=("nginx", "haproxy"),
    ),
    Option(
        "batch",
        "At once",
        "How many servers go live at once: a number, or a part of all like 25%.",
        default="1",
        pattern=r"[1-9]\d{0,2}|[1-9]\d?%",
    ),
    Option(
        "minimum",
        "Ready at least",
        "How many servers must be ready at any moment: a number, or a part of all like 50%. Empty: all that are not in "
        "the batch.",
        pattern=r"([1-9]\d{0,2}|[1-9]\d?%)?",
    ),
    colours.number("drain_seconds", "Time to drain (s)", "How long requests to a server may go on.", 30, 9999),
    colours.number(
        "warm_seconds",
        "Time to warm up (s)",
        "HAProxy gives a server that is back a tenth of its requests, and all only after so long.",
        0,
        999,
    ),
    Option(
        "check_path",
        "Path of the check",
        "What the balancer asks a server for; it is ready when that answers 200 to 399.",
        default="/",
        pattern=r"/[A-Za-z0-9._~%!&()*+,;=:@/?-]*",
    ),
    *(
        replace(option, help=f"Of containers: {option.help[0].lower()}{option.help[1:]}")
        for option in (colours.CHECKS, colours.START_SECONDS, colours.WATCH_SECONDS)
    ),
    Option(
        "nodes",
        "Addresses",
        "Where the balancer reaches the servers, where that is not their own address on port 80: "
        "web1=10.0.0.1:8080 web2=10.0.0.2:8080.",
        pattern=rf"([a-z0-9-]+=({_ADDRESS})( [a-z0-9-]+=({_ADDRESS}))*)?",
    ),
    Option(
        "listen",
        "Port",
        "Where the balancer takes requests, as far as the panel sets it up.",
        default="80",
        pattern=r"[1-9]\d{0,4}",
    ),
    Option(
        "backend",
        "Backend",
        "A backend that HAProxy has already. Empty: the panel makes one. Of no use for nginx.",
        pattern=r"[A-Za-z0-9_.:-]{0,100}",
    ),
    Option(
        "socket",
        "Admin socket",
        "Where HAProxy takes orders (stats socket … level admin).",
        default="/run/haproxy/admin.sock",
        pattern=r"/[A-Za-z0-9._/-]{1,100}",
    ),
)
_DRAINED = "gets requests again"


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    if recipe.name == "compose":
        return "A Compose project does not go live by a link. Choose blue-green (without downtime) or recreate."
    if recipe.name == "dockerfile":
        if not site.proxy:
            return "The balancer reaches a container by the nginx of its server: choose nginx as proxy."
        if refused := recreate.problem(site, recipe):
            return refused
    servers = {target.name for target in site.targets}
    if len(servers) < 2:
        return "rolling needs at least two servers. Choose atomic for one."
    if site.balancer is None:
        return "rolling needs a balancer: choose the server that spreads the requests."
    if _option(site, "balancer") == "nginx" and not site.domains:
        return "nginx balances by domain: give the environment one, or take HAProxy."
    return next(iter(clash(site).values()), "")


def clash(site: Site) -> dict[str, str]:
    """Settings that do not go together, or with the servers, whatever is deployed: by name, why."""
    if _option(site, "balancer") == "nginx" and int(_option(site, "warm_seconds")):
        why = "nginx cannot give a server more requests little by little: take HAProxy, or no time to warm up."
        return {"strategy_options.warm_seconds": why}
    servers = {target.name for target in site.targets}
    unknown = sorted(set(_given(site)) - servers)
    if unknown:
        why = f"The addresses name servers that the environment does not have: {', '.join(unknown)}."
        return {"strategy_options.nodes": why}
    if _minimum(site) > len(servers) - _size(site):
        why = (
            f"With {_size(site)} of {len(servers)} servers at once, {_minimum(site)} cannot stay ready. "
            "Take fewer at once, or a lower number."
        )
        return {"strategy_options.minimum": why}
    name = site.balancer.name if site.balancer else ""
    if name in servers and name not in _given(site) and _option(site, "listen") == "80":
        why = (
            f"{name} is the balancer and one of the servers: what it takes on port 80 it would pass on to itself. Take "
            "another server as balancer, another port for it (listen), or say where it reaches this one (nodes)."
        )
        return {"balancer": why}
    return {}


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment."""
    return _balanced(site, _on_a_server(recipe).deploy(site, recipe))


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of going back to a kept release, in batches too."""
    return _balanced(site, _on_a_server(recipe).rollback(site, recipe))


def rounds(site: Site, recipe: Recipe) -> tuple[Round, ...]:
    """The batches, and what the balancer does around each."""
    kind = _option(site, "balancer")
    all_names, size = _order(site), _size(site)
    parts = [all_names[start : start + size] for start in range(0, len(all_names), size)]
    made = []
    for number, names in enumerate(parts, 1):
        shown, batch = ", ".join(names), f"batch {number} of {len(parts)}"
        out, back = balancer.drain(names, kind=kind), balancer.give(names, kind=kind)
        out_again, back_again = balancer.drain_again(names, kind=kind), balancer.give_again(names, kind=kind)
        ready = f"{shown}: requests again, once the balancer finds them ready"
        after = "only after a failure: "
        made.append(
            Round(
                servers=names,
                before=_own(f"drain {batch}", Phase.ACTIVATE, out, f"no requests to {shown}", undo=_DRAINED),
                after=_own(f"ready {batch}", Phase.VERIFY, back, ready),
                undo_before=_own(f"drain {batch} again", Phase.UNDO, out_again, f"{after}no requests to {shown}"),
                undo_after=_own(f"ready {batch} again", Phase.UNDO, back_again, f"{after}{ready}"),
            )
        )
    return tuple(made)


def _on_a_server(recipe: Recipe) -> ModuleType:
    """The strategy by which a server that gets no requests goes live."""
    return recreate if recipe.name == "dockerfile" else atomic


def _balanced(site: Site, tasks: list[Task]) -> list[Task]:
    """The tasks with those of the balancer, which takes the same lock and lets it go in the same step."""
    made: list[Task] = []
    for task in tasks:
        if task.name == "lock":
            made += [task, *_own_of_balancer(site)]
        elif task.phase is Phase.FINISH or (task.phase is Phase.UNDO and task.name != "take back"):
            made.append(replace(task, where=Where.EVERY, command=_with_balancer(task)))
        else:
            made.append(task)
    return made


def _own_of_balancer(site: Site) -> list[Task]:
    kind = _option(site, "balancer")
    check = balancer.check(
        kind=kind,
        environment_id=site.environment_id,
        nodes=[(target.name, _address(site, target)) for target in site.targets],
        minimum=_minimum(site),
        drain_seconds=int(_option(site, "drain_seconds")),
        warm_seconds=int(_option(site, "warm_seconds")),
        path=_option(site, "check_path"),
        port=int(_option(site, "listen")),
        domains=site.domains,
        backend=_option(site, "backend"),
        socket=_option(site, "socket"),
        fresh=site.joining,
        upload_mb=site.upload_mb,
    )
    known = f"lock; {kind} may be given orders and knows all servers; {_minimum(site)} of them stay ready"
    written = f"{kind} spreads requests over {', '.join(target.name for target in site.targets)}"
    return [
        _own("check balancer", Phase.PREFLIGHT, lock.TAKE + check, known),
        _own("write balancer", Phase.PROTECT, balancer.WRITE, written, undo="stays: it changes nothing for who serves"),
    ]


def _with_balancer(task: Task) -> str:
    """The cleaning up of a server, as one that only balances or builds does it too: it serves nothing."""
    if task.name not in ("unlock", "clean up"):
        return f'case $root in "$devflow"/sites/*) exit 0 ;; esac\n{task.command}'
    return f"""\
{balancer.FORGET}case $root in "$devflow"/sites/*)
{lock.RELEASE}exit 0 ;;
esac
{task.command}"""


def _option(site: Site, name: str) -> str:
    default = next(option.default for option in OPTIONS if option.name == name)
    return (site.strategy_options or {}).get(name) or default


def _order(site: Site) -> tuple[str, ...]:
    """As they go live: first those that do not serve yet, so that as many as are to be ready are when others go."""
    return tuple(sorted((target.name for target in site.targets), key=lambda name: name not in site.joining))


def _size(site: Site) -> int:
    """How many servers are in a batch; a part of all is rounded down, to one at least."""
    text = _option(site, "batch")
    count = len(site.targets)
    return min(count, max(1, count * int(text[:-1]) // 100) if text.endswith("%") else int(text))


def _minimum(site: Site) -> int:
    text = _option(site, "minimum")
    count = len(site.targets)
    if not text:
        return max(0, count - _size(site))
    return math.ceil(count * int(text[:-1]) / 100) if text.endswith("%") else int(text)


def _given(site: Site) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _option(site, "nodes").split())


def _address(site: Site, target: Target) -> str:
    """Where the balancer reaches the server, with the port."""
    host = target.address or "127.0.0.1"
    address = _given(site).get(target.name) or (f"[{host}]" if ":" in host else host)
    return address if re.search(r":\d+$", address) else f"{address}:80"


def _own(name: str, phase: Phase, command: str, summary: str, *, undo: str = colours.HARMLESS) -> Task:
    return Task(
        name=name,
        phase=phase,
        command=command,
        undo=undo,
        where=Where.BALANCER,
        is_builtin=True,
        summary=summary,
    )
