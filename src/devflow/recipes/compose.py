"""Applications with a Compose file, which is used as it is: services that can be are replaced without downtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from devflow.commands import compose
from devflow.core import services
from devflow.core.services import Choices, Composition, Treatment
from devflow.engine.task import Option, Phase, Recipe, Runtime, Task
from devflow.recipes.common import THROWN_AWAY
from devflow.recipes.dockerfile import COMPOSE_FILES

_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_SERVICES = rf"({_SERVICE}( {_SERVICE}){{0,49}})?"
_FILE = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"

OPTIONS = (
    Option(
        name="files",
        title="Compose files",
        help="With spaces between: compose.yaml compose.production.yaml. Empty: compose.yaml (or .yml, docker-compose.yml) "
        "with its override, as docker compose finds them.",
        pattern=rf"({_FILE}( {_FILE}){{0,9}})?",
    ),
    Option(name="profiles", title="Profiles", help="Of the Compose file, with spaces between.", pattern=_SERVICES),
    Option(
        name="service",
        title="Service behind the proxy",
        help="Empty: the only one that publishes a port.",
        pattern=rf"({_SERVICE})?",
    ),
    Option(
        name="container_port",
        title="Port in the container",
        help="Where that service listens. Empty: its only port in the Compose file.",
        pattern=r"([1-9][0-9]{0,4})?",
    ),
    Option(
        name="pull",
        title="Images are pulled",
        help="always, where they are missing, or never. Empty: as the Compose file says, else where they are missing.",
        choices=("always", "missing", "never"),
    ),
    Option(
        name="replace",
        title="Replace without downtime",
        help="Services, with spaces between, of which two may run side by side though the plan would not have it so.",
        pattern=_SERVICES,
    ),
    Option(
        name="recreate",
        title="Recreate in place",
        help="Services, with spaces between, of which two must never run side by side.",
        pattern=_SERVICES,
    ),
    Option(
        name="leave",
        title="Leave alone",
        help="Services, with spaces between, that a deployment starts where they are missing, and never changes.",
        pattern=_SERVICES,
    ),
    Option(
        name="wait_seconds",
        title="Time to become healthy (s)",
        help="How long the services' own health checks may take.",
        default=str(compose.HEALTH_SECONDS),
        pattern=r"[1-9][0-9]{0,3}",
    ),
)

RUNTIME = Runtime(
    title="Compose services",
    check=compose.CHECK,
    start=compose.START,
    look=compose.LOOK,
    stop=compose.STOP,
    remove=compose.REMOVE,
    keeps=compose.KEEPS,
    prune=compose.PRUNE,
    enable=compose.ENABLE,
    disable=compose.DISABLE,
)

RECIPE = Recipe(
    name="compose",
    title="Compose",
    detect=lambda tree: bool(tree.files & COMPOSE_FILES),
    tasks=(
        Task(
            name="read the Compose file",
            phase=Phase.PREPARE,
            command=compose.RESOLVE,
            undo=THROWN_AWAY,
            is_builtin=True,
            summary="docker compose config with the environment's variables; no volume may be lost",
        ),
        Task(
            name="images",
            phase=Phase.PREPARE,
            command=compose.IMAGES,
            undo="the images are removed with a later release",
            is_builtin=True,
            summary="build and pull the images of what is replaced or recreated, and pin them by id",
        ),
        Task(
            name="recreate services",
            phase=Phase.RELOAD,
            command=compose.RECREATE,
            undo="recreated as the release before has them",
            is_builtin=True,
            summary="the services beside the colours, as the release has them",
        ),
    ),
    shared_files=(".env",),
    options=OPTIONS,
    runtime=RUNTIME,
)


def treat(
    composition: Composition,
    options: Mapping[str, str],
    *,
    in_place: bool,
    has_proxy: bool,
    shared: Iterable[str] = (),
    top: Iterable[str] | None = None,
    standby_minutes: int | None = None,
) -> Treatment:
    """How the services are treated, with the values of the recipe's options."""
    choices = Choices(
        service=options.get("service", ""),
        port=options.get("container_port", ""),
        replace=tuple(options.get("replace", "").split()),
        recreate=tuple(options.get("recreate", "").split()),
        leave=tuple(options.get("leave", "").split()),
    )
    return services.treat(
        composition,
        choices,
        in_place=in_place,
        has_proxy=has_proxy,
        shared=tuple(shared),
        top=top,
        standby_minutes=standby_minutes,
    )


def fit(recipe: Recipe, composition: Composition, treatment: Treatment, *, in_place: bool) -> Recipe:
    """The recipe for services that are treated so: its scripts know it by shell variables. The environment's variables
    go into what is built from the repository and what is behind the proxy."""
    names = [facts.name for facts in composition.services]
    left = treatment.of(services.LEFT)
    beside = {*left, *treatment.of(services.RECREATED)} - {treatment.proxied}
    into = [
        facts.name
        for facts in composition.services
        if (facts.is_built or facts.name == treatment.proxied) and facts.name not in left
    ]
    return replace(
        recipe,
        tools=compose.head(
            services.lists(treatment),
            services=names,
            into=into,
            in_place=in_place,
            declared=[(facts.name, place) for facts in composition.services for place in facts.declared],
            ports=[
                (each.name, port) for each in composition.services if each.name in beside for port in each.host_ports
            ],
        ),
    )
