"""`atomic`: a release beside the others, then one rename of a link. Until then nothing that serves is touched."""

from __future__ import annotations

from collections.abc import Iterable

from devflow.commands import colours, dependencies, git, health, lock, releases
from devflow.engine.plan import Site, reload_commands
from devflow.engine.task import Option, Phase, Recipe, Task
from devflow.strategies import proxy

TITLE = "Atomic"
HELP = "A release beside the others, then one rename of a link."
OPTIONS: tuple[Option, ...] = ()
_HARMLESS = "changes nothing that is served"
_THROWN_AWAY = "the release is thrown away"


def problem(site: Site, recipe: Recipe) -> str:
    """Why the environment cannot be deployed so, '' where it can."""
    if recipe.name == "compose":
        return "A Compose project does not go live by a link. Choose blue-green (without downtime) or recreate."
    if recipe.name == "dockerfile":
        return "A container does not go live by a link. Choose blue-green (without downtime) or recreate."
    if site.proxy and recipe.runtime is not None:
        return (
            f"nginx cannot tell where a {recipe.title} application of the strategy atomic listens. "
            "Choose blue-green, or no proxy, and serve it by a site file of your own."
        )
    return proxy.problem(site)


def deploy(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of a deployment."""
    checks = [*proxy.checks(site), *_no_colours(recipe)]
    return [
        *prepare(site, recipe, checks=checks),
        *_go_live(site, recipe),
        *take_back(keeps_release=False, before=_site_back(site)),
    ]


def rollback(site: Site, recipe: Recipe) -> list[Task]:
    """The panel's own tasks of going back to a kept release."""
    checks = [*proxy.checks(site), *_no_colours(recipe)]
    return [
        *prepare_rollback(site, checks=checks),
        *_go_live(site, recipe),
        *take_back(keeps_release=True, before=_site_back(site)),
    ]


def prepare(site: Site, recipe: Recipe, *, checks: Iterable[Task] = ()) -> list[Task]:
    """Everything up to the release that is not served yet; `checks` come before the lock."""
    files = tuple(dict.fromkeys((*recipe.shared_files, *site.shared_files)))
    folders = tuple(dict.fromkeys((*recipe.shared_folders, *site.shared_folders)))
    if site.variable_keys:
        files = tuple(path for path in files if path != recipe.env_file)
    tasks = [
        _own(
            "check server",
            Phase.PREFLIGHT,
            releases.CHECK,
            _HARMLESS,
            f"git, flock, disk space and rights in {site.root}",
        ),
        *_check_options(site, recipe),
        *checks,
        _own("lock", Phase.PREFLIGHT, lock.TAKE, "unlocked", f"lock {site.root} against other deployments and panels"),
        _own(
            "fetch",
            Phase.PREPARE,
            git.FETCH,
            _HARMLESS,
            f"git fetch {site.branch} from {site.repository} into the mirror",
        ),
        _own(
            "release",
            Phase.PREPARE,
            git.CHECKOUT,
            _THROWN_AWAY,
            f"lay the commit out in {site.root}/releases/<release>",
        ),
    ]
    if files or folders:
        link = releases.link_shared(files, folders)
        shown = ", ".join([*files, *(f"{folder}/" for folder in folders)])
        tasks.append(_own("link shared", Phase.PREPARE, link, _THROWN_AWAY, f"link from {site.root}/shared: {shown}"))
    if site.variable_keys:
        write = f"write the release's {recipe.env_file} (0600): {', '.join(site.variable_keys)}"
        command = releases.write_variables(recipe.env_file)
        tasks.append(_own("write variables", Phase.PREPARE, command, _THROWN_AWAY, write))
    return tasks


def prepare_rollback(site: Site, *, checks: Iterable[Task] = ()) -> list[Task]:
    """As `prepare`, for a release that is kept on the servers."""
    return [
        *checks,
        _own("lock", Phase.PREFLIGHT, lock.TAKE, "unlocked", f"lock {site.root} against other deployments and panels"),
        _own("check release", Phase.PREFLIGHT, releases.CHECK_KEPT, _HARMLESS, "the release is still on the server"),
    ]


def _no_colours(recipe: Recipe) -> list[Task]:
    """What another strategy left must not go on getting the traffic while `current` is another release."""
    if recipe.runtime is None:
        return []
    return [_own("check colours", Phase.PREFLIGHT, colours.CHECK_NONE, _HARMLESS, "no release of two colours serves")]


def _check_options(site: Site, recipe: Recipe) -> list[Task]:
    """Whether the servers have what the values of the recipe's options ask for."""
    values = site.options or {}
    return [
        _own(f"check {option.title}", Phase.PREFLIGHT, option.check, _HARMLESS, f"{option.title} {values[option.name]}")
        for option in recipe.options
        if option.check and values.get(option.name)
    ]


def _go_live(site: Site, recipe: Recipe) -> list[Task]:
    switch = f"one rename: {site.root}/current -> releases/<release>"
    return [
        *proxy.go_live(site, recipe),
        _own("activate", Phase.ACTIVATE, releases.ACTIVATE, "the link goes back to the release before", switch),
        *verify(site),
        *finish(site, recipe),
    ]


def verify(site: Site) -> list[Task]:
    """The release is the current one, and answers the environment's health check."""
    served = f"{site.root}/current is the new release"
    tasks = [_own("verify release", Phase.VERIFY, releases.VERIFY, _HARMLESS, served)]
    if site.health:
        check = health.check(
            url=site.health.url,
            status=site.health.status,
            text=site.health.text,
            timeout_seconds=site.health.timeout_seconds,
            retries=site.health.retries,
            host=health.host_of(site.domains) if site.proxy else "",
        )
        wanted = f"{site.health.url} answers {site.health.status}" + (
            f" with {site.health.text!r}" if site.health.text else ""
        )
        tasks.append(
            _own("health check", Phase.VERIFY, check, _HARMLESS, f"{wanted}, tried {site.health.retries + 1} times")
        )
    return tasks


def finish(site: Site, recipe: Recipe, *, prune: str = "") -> list[Task]:
    """Old releases go, and the lock; `prune` is what else is removed."""
    remember = releases.remember_reload(
        reload_commands(site, recipe), root=site.root, options=site.options or {}, tools=site.tools
    )
    unlock = remember + releases.REPORT + lock.RELEASE
    forever = "cannot be undone: old releases beyond the set number are removed"
    return [
        _own(
            "prune",
            Phase.FINISH,
            releases.PRUNE + dependencies.PRUNE + prune,
            forever,
            f"keep the newest {site.keep} releases",
        ),
        _own("unlock", Phase.FINISH, unlock, _HARMLESS, f"unlock {site.root}"),
    ]


def take_back(*, keeps_release: bool, before: str = "") -> list[Task]:
    """Only run when something failed, or somebody cancelled; `before` is what is undone first."""
    clean = "" if keeps_release else releases.THROW_AWAY + dependencies.FORGET
    unlock = clean + releases.REPORT + lock.RELEASE
    return [
        _own(
            "take back",
            Phase.UNDO,
            before + releases.UNDO,
            _HARMLESS,
            "only after a failure: the release before serves again",
        ),
        _own("clean up", Phase.UNDO, unlock, _HARMLESS, "only after a failure: throw the new release away, unlock"),
    ]


def _site_back(site: Site) -> str:
    return proxy.BACK if site.proxy else ""


def _own(name: str, phase: Phase, command: str, undo: str, summary: str) -> Task:
    return Task(name=name, phase=phase, command=command, undo=undo, is_builtin=True, summary=summary)
