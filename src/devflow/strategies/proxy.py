"""The site file of nginx that serves an environment, for all strategies."""

from __future__ import annotations

from devflow.commands import nginx
from devflow.core.shell import quote
from devflow.engine.plan import Site
from devflow.engine.task import Phase, Recipe, Task

_PHP = frozenset({"laravel", "symfony", "shopware", "php", "tenants"})
_IN_PUBLIC = frozenset({"laravel", "symfony", "shopware", "tenants"})
"""Recipes whose files for the web are in the folder `public`."""

BACK = (
    nginx.FUNCTIONS
    + """\
if [ -d "$nginx_before" ]; then
  lock_nginx
  put_back_nginx
  exec 8<&-
fi
"""
)
"""Shell text: the site file as it was before this deployment."""


def problem(site: Site) -> str:
    """Why the proxy of the site cannot serve it, '' where it can."""
    return (
        "nginx serves by domain: give the environment one, or choose no proxy."
        if site.proxy and not site.domains
        else ""
    )


def checks(site: Site) -> list[Task]:
    """Preflight: nginx is there and in order, and nobody else serves the domains. Nothing is changed."""
    if not site.proxy:
        return []
    accepted = "proxy_accepted=" + quote("\n".join(site.proxy_accepted)) + "\n"
    return [_own("check nginx", Phase.PREFLIGHT, accepted + nginx.CHECK, "nginx and its configuration are in order")]


def go_live(site: Site, recipe: Recipe) -> list[Task]:
    """The site file of what is served from the folder `current`."""
    if not site.proxy:
        return []
    install = nginx.install(text_of(site, recipe))
    # a site file that does not change needs no reload, which takes a moment
    unchanged = '! cmp -s "$nginx_before/${nginx_site##*/}" "$nginx_site"'
    command = f"{nginx.FUNCTIONS}{install}if {unchanged}; then\n{nginx.RELOAD}fi\n"
    return [_own("site file", Phase.ACTIVATE, command, f"nginx serves {', '.join(site.domains)}")]


def text_of(site: Site, recipe: Recipe) -> str:
    """The site file of the environment, whatever its strategy."""
    return site_text(site, *served(site, recipe))


def served(site: Site, recipe: Recipe) -> tuple[str, str]:
    """What nginx serves: `upstream`, or `php` or `static` and the folder."""
    if recipe.runtime is not None:
        return "upstream", ""
    folder = f"{site.root}/current"
    output = (site.options or {}).get("output", "") if recipe.name == "static" else ""
    if recipe.name in _IN_PUBLIC:
        folder += "/public"
    elif output:
        folder += f"/{output}"
    return ("php" if recipe.name in _PHP else "static"), folder


def site_text(site: Site, serves: str, folder: str = "") -> str:
    """The text of the environment's site file: a generated one, or its own."""
    return nginx.site_file(
        environment_id=site.environment_id,
        domains=site.domains,
        serves=serves,
        root=folder,
        upload_mb=site.upload_mb,
        template=site.proxy_template,
    )


def _own(name: str, phase: Phase, command: str, summary: str) -> Task:
    undo = "the site file before is put back"
    return Task(name=name, phase=phase, command=command, undo=undo, is_builtin=True, summary=summary)
