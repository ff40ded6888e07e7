"""A server that builds for the others and serves nothing itself: it finds the commit, and holds the site's lock too."""

from __future__ import annotations

from collections.abc import Iterable

from devflow.commands import git, images, lock, releases
from devflow.engine.plan import Site
from devflow.engine.task import Phase, Recipe, Task, Where

_HARMLESS = "changes nothing that is served"
_FORGET = f'rm -rf "$root/.devflow/build"\n{lock.RELEASE}'


def has_something_to_build(recipe: Recipe) -> bool:
    return any(task.where is Where.BUILDER for task in recipe.tasks)


def around(site: Site, tasks: Iterable[Task]) -> list[Task]:
    """A strategy's tasks of a deployment, with what a builder does that is none of the servers.

    It fetches before they do, since they wait for the commit that it finds, and cleans up before they do: after that,
    nothing is taken back any more.
    """
    if site.builder is None or site.builder in site.targets:
        return [*tasks]
    fetch = f"git fetch {site.branch} from {site.repository}"
    check = releases.CHECK + images.CHECK_DOCKER
    prune = releases.PRUNE + images.PRUNE + _FORGET
    return [
        _own("check builder", Phase.PREFLIGHT, check, "git, flock, disk space, Docker"),
        _own("lock builder", Phase.PREFLIGHT, lock.TAKE, "lock against other deployments of this environment"),
        _own("fetch on builder", Phase.PREPARE, git.FETCH, fetch),
        _own("clean up builder", Phase.FINISH, prune, "remove images of releases that are not kept; unlock"),
        *tasks,
        _own("unlock builder", Phase.UNDO, _FORGET, "only after a failure: unlock; the image stays for the next time"),
    ]


def _own(name: str, phase: Phase, command: str, summary: str) -> Task:
    return Task(
        name=name,
        phase=phase,
        command=command,
        undo=_HARMLESS,
        where=Where.BUILDER,
        is_builtin=True,
        summary=summary,
    )
