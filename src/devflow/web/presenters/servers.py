"""The facts of a server as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devflow.core.shell import quote
from devflow.remote.facts import TOOLS
from devflow.web.templatetags.panel import amount, duration

_VERSIONED = ("git", "php", "node")


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    version: str
    is_present: bool


def fact_list(facts: Mapping[str, Any]) -> list[Fact]:
    """What the last check read, in the order in which one asks; [] when there was none."""
    if not facts:
        return []
    found = [
        Fact(_("System"), str(facts.get("os", ""))),
        Fact(_("Kernel"), f"{facts.get('kernel', '')} {facts.get('architecture', '')}".strip()),
        Fact(_("Processors"), str(facts.get("cpus", ""))),
        Fact(_("Load"), str(facts.get("load", ""))),
        Fact(_("Memory"), _part(facts.get("memory_free_kb"), facts.get("memory_kb"))),
        Fact(_("Disk /"), _part(facts.get("disk_free_kb"), facts.get("disk_kb"))),
        Fact(_("Up for"), _uptime(facts.get("uptime_seconds"))),
        Fact(_("User"), _("%(user)s in %(home)s") % {"user": facts.get("user", ""), "home": facts.get("home", "")}),
    ]
    return [fact for fact in found if fact.value]


def tool_list(facts: Mapping[str, Any]) -> list[Tool]:
    """The tools that deployments may want: those present first, with their version where it was read."""
    if not facts:
        return []
    present = facts.get("tools", [])
    tools = [Tool(name, _version(facts, name), name in present) for name in TOOLS]
    return sorted(tools, key=lambda tool: not tool.is_present)


def authorize_line(public_key: str) -> str:
    """What a person runs on the server, as the user that the panel logs in as, to let the panel in."""
    steps = [
        "mkdir -p ~/.ssh",
        "chmod 700 ~/.ssh",
        f"echo {quote(public_key)} >> ~/.ssh/authorized_keys",
        "chmod 600 ~/.ssh/authorized_keys",
    ]
    return " && ".join(steps)


def _version(facts: Mapping[str, Any], tool: str) -> str:
    return str(facts.get(tool, "")).removeprefix("v") if tool in _VERSIONED else ""


def _part(free_kb: int | None, total_kb: int | None) -> str:
    if not total_kb:
        return ""
    return _("%(free)s free of %(total)s") % {
        "free": amount((free_kb or 0) * 1024),
        "total": amount(total_kb * 1024),
    }


def _uptime(seconds: int | None) -> str:
    if not seconds:
        return ""
    days = seconds // 86400
    return ngettext("%(count)s day", "%(count)s days", days) % {"count": days} if days else duration(seconds)
