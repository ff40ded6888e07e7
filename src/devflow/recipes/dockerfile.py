"""Applications with a Dockerfile: one image for all servers, and a container of it under each colour."""

from __future__ import annotations

from devflow.commands import containers, images
from devflow.engine.task import Option, Phase, Recipe, Runtime, Task, Where
from devflow.recipes.common import THROWN_AWAY

COMPOSE_FILES = frozenset({"compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml"})
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAMES = r"([A-Za-z_][A-Za-z0-9_]{0,99}( [A-Za-z_][A-Za-z0-9_]{0,99}){0,39})?"
_SIZE = r"([1-9][0-9]{0,9}[kmgKMG]?)?"
_CPUS = r"([0-9]{1,3}(\.[0-9]{1,2})?)?"
_MOUNT = rf"(\./)?{_PART}(/{_PART})*:(/{_PART})+(:ro)?"

OPTIONS = (
    Option(
        name="dockerfile",
        title="Dockerfile",
        help="Its path in the repository, like docker/web.Dockerfile.",
        default="Dockerfile",
        pattern=rf"{_PART}(/{_PART})*",
    ),
    Option(
        name="target",
        title="Build target",
        help="The stage of the Dockerfile that is built, like production. Empty: its last.",
        pattern=rf"({_PART})?",
    ),
    Option(
        name="build_args",
        title="Build arguments",
        help="Names of variables, with spaces between them, that the Dockerfile takes with ARG. Everybody who has the image "
        "can read them: secrets are refused.",
        pattern=_NAMES,
    ),
    Option(
        name="build_secrets",
        title="Build secrets",
        help="Names of secret variables that the build mounts: RUN --mount=type=secret,id=NAME. Needs BuildKit.",
        pattern=_NAMES,
    ),
    Option(
        name="container_port",
        title="Port in the container",
        help="Where the application listens, also told to it as PORT. Empty: the one that the Dockerfile EXPOSEs.",
        pattern=r"([1-9][0-9]{0,4})?",
    ),
    Option(
        name="command",
        title="Command",
        help='What the container runs, in place of the image\'s own: python serve.py --title "My shop".',
    ),
    Option(
        name="volumes",
        title="Volumes",
        help="What outlives a container, with spaces between: shop-data:/data for a volume of Docker's of that name, "
        "./uploads:/app/uploads for a shared folder of the deployment; :ro at the end for reading only.",
        pattern=rf"({_MOUNT}( {_MOUNT}){{0,19}})?",
    ),
    Option(
        name="memory",
        title="Memory of a container",
        help="Like 512m or 2g; above it the container is ended. Empty: no limit.",
        pattern=_SIZE,
    ),
    Option(name="cpus", title="CPUs of a container", help="Like 0.5 or 2. Empty: no limit.", pattern=_CPUS),
    Option(
        name="restart",
        title="When the container ends",
        help="What Docker does with the one that serves when it ends by itself, or the server has restarted.",
        default="unless-stopped",
        choices=("unless-stopped", "always", "on-failure", "no"),
    ),
    Option(
        name="registry",
        title="Registry",
        help="Where the image is kept for the servers, like registry.example.com:5000/team/shop. Empty: the panel brings it "
        "to them over SSH.",
        pattern=r"([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*){1,6})?",
    ),
    Option(
        name="registry_user",
        title="User of the registry",
        help="Empty: the registry asks for none, or the servers are logged in by hand.",
        pattern=r"[A-Za-z0-9_.@+$:-]{0,100}",
    ),
    Option(
        name="registry_password",
        title="Password of the registry",
        help="The name of the secret variable that holds it, like REGISTRY_PASSWORD. Containers do not get that variable.",
        pattern=r"([A-Za-z_][A-Za-z0-9_]{0,99})?",
    ),
    Option(
        name="build_memory",
        title="Memory of the build",
        help="Like 2g; above it the build fails. Only where the server's kernel has such limits, and not with BuildKit. "
        "Empty: no limit.",
        pattern=_SIZE,
    ),
    Option(
        name="build_cpus",
        title="CPUs of the build",
        help="Like 1.5, so that what serves on the same server keeps the rest. Where memory can be limited. Empty: no limit.",
        pattern=_CPUS,
    ),
    Option(
        name="build_disk",
        title="Free disk for the build (MB)",
        help="With less free in Docker's folder no image is built.",
        default="1000",
        pattern=r"[0-9]{1,7}",
    ),
    Option(
        name="build_free_memory",
        title="Free memory for the build (MB)",
        help="With less free no image is built.",
        default="200",
        pattern=r"[0-9]{1,6}",
    ),
)

RUNTIME = Runtime(
    title="containers",
    check=containers.CHECK,
    start=containers.START,
    look=containers.LOOK,
    stop=containers.STOP,
    remove=containers.REMOVE,
    keeps=containers.KEEPS,
    prune=containers.PRUNE,
    enable=containers.ENABLE,
    disable=containers.DISABLE,
    words=containers.WORDS,
)

RECIPE = Recipe(
    name="dockerfile",
    title="Dockerfile",
    detect=lambda tree: "Dockerfile" in tree.files and not tree.files & COMPOSE_FILES,
    tasks=(
        Task(
            name="build image",
            phase=Phase.PREPARE,
            command=images.BUILD,
            undo="the image stays for the next attempt, and goes with the releases that are not kept",
            where=Where.BUILDER,
            is_builtin=True,
            summary="docker build, once for this commit; pushed where a registry is set",
        ),
        Task(
            name="bring image",
            phase=Phase.PREPARE,
            command=images.BRING,
            undo=THROWN_AWAY,
            is_builtin=True,
            summary="the image comes to each server: pulled by digest from the registry, else over SSH, only what is missing",
        ),
    ),
    options=OPTIONS,
    runtime=RUNTIME,
)
"""Shared folders are of the server, not of the image: they are mounted where the option Volumes says so."""
