"""What was found, and what can be done, as lines with an address."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.search import Found
from devflow.web.looks import DEPLOYMENT, SERVER


@dataclass(frozen=True, slots=True)
class Hit:
    """`about` stands beside the title; `icon` is one of parts/icons.svg; `theme` is set instead of going somewhere."""

    title: str
    about: str
    href: str
    icon: str
    theme: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    hits: list[Hit]

    def document(self) -> dict[str, Any]:
        return {"title": self.title, "hits": [asdict(hit) for hit in self.hits]}


def groups_of(actor: Actor, found: Found) -> list[Group]:
    """Kinds that nothing was found of are left out."""
    groups = [
        Group(_("Projects"), [_project(project) for project in found.projects]),
        Group(_("Environments"), [_environment(environment) for environment in found.environments]),
        Group(
            _("Servers"),
            [
                Hit(each.name, SERVER[each.status].word, reverse("server", args=[each.name]), "server")
                for each in found.servers
            ],
        ),
        Group(_("Deployments"), [_deployment(deployment) for deployment in found.deployments]),
        Group(
            _("People"),
            [Hit(str(member.user), member.user.email, reverse("team"), "user") for member in found.people],
        ),
    ]
    return [group for group in groups if group.hits]


def actions_of(actor: Actor, query: str) -> Group:
    """Pages and actions whose name has every word of the query."""
    words = query.lower().split()
    fits = [hit for hit in _actions(actor) if all(word in hit.title.lower() for word in words)]
    return Group(_("Go to") if not words else _("Pages and actions"), fits)


def _project(project: Any) -> Hit:
    about = project.source.repository if project.source else ""
    return Hit(project.name, about, reverse("project", args=[project.slug]), "project")


def _environment(environment: Any) -> Hit:
    address = reverse("environment", args=[environment.project.slug, environment.name])
    return Hit(f"{environment.project.name} {environment.name}", environment.branch, address, "branch")


def _deployment(deployment: Deployment) -> Hit:
    commit = deployment.commit[:8] or deployment.branch
    title = f"{commit} {deployment.commit_message}".strip()
    where = f"{deployment.project.name} {deployment.environment.name}"
    about = f"{where}: {DEPLOYMENT[deployment.status].word}"
    return Hit(title, about, reverse("deployment", args=[deployment.pk]), DEPLOYMENT[deployment.status].icon)


def _actions(actor: Actor) -> list[Hit]:
    manages = actor.can(rights.MANAGE)
    rows = [
        (True, _("Dashboard"), "dashboard", "home"),
        (True, _("Projects"), "projects", "project"),
        (True, _("Servers"), "servers", "server"),
        (True, _("Deployments"), "deployments", "deploy"),
        (manages, _("Add project"), "project-add", "plus"),
        (manages, _("Add server"), "server-add", "plus"),
        (True, _("Clusters"), "clusters", "box"),
        (True, _("Channels"), "channels", "bell"),
        (True, _("Team members"), "team", "people"),
        (True, _("API tokens"), "tokens", "key"),
        (actor.can(rights.AUDIT), _("Audit log"), "audit", "history"),
        (True, _("Account"), "account", "lock"),
        (True, _("Data and deletion"), "data", "download"),
    ]
    themes = [
        (_("Theme: as the system"), "system", "system"),
        (_("Theme: light"), "light", "sun"),
        (_("Theme: dark"), "dark", "moon"),
    ]
    return [Hit(title, "", reverse(name), mark) for is_there, title, name, mark in rows if is_there] + [
        Hit(title, "", "", mark, theme) for title, theme, mark in themes
    ]
