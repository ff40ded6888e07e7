"""The facts of a server as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devflow.apps.servers.models import CheckStep, Server, ServerStatus
from devflow.apps.told import told
from devflow.core.shell import quote
from devflow.remote.facts import TOOLS
from devflow.web.templatetags.panel import amount, duration

_VERSIONED = ("git", "php", "node")
_PACKAGES = {"git": "git", "curl": "curl", "tar": "tar", "flock": "util-linux", "setsid": "util-linux"}
"""The tools that every deployment wants, and where Debian has them."""
_LEAST_FREE_KB, _LEAST_FREE_PERCENT = 1_000_000, 5
_MOST_SKEW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    version: str
    is_present: bool


@dataclass(frozen=True, slots=True)
class Check:
    """`state` is a step's (web/looks.py), or `warned`; `text` says what was found or why it failed, `command` what can
    be run on the server, or to try the same by hand."""

    title: str
    state: str
    text: str = ""
    command: str = ""


def check_list(server: Server, *, is_checking: bool) -> list[Check]:
    """What a check of the server tries, in its order, and how far it came; [] where it was never checked."""
    is_offline = server.check_step or server.status == ServerStatus.OFFLINE
    if not is_checking and (server.checked_at is None or (is_offline and not server.check_step)):
        return []
    tried = [*_tried(server, is_checking=is_checking)]
    is_well = all(check.state == "success" for check in tried)
    return [*tried, *(_found(server) if is_well and not is_checking else ())]


def _tried(server: Server, *, is_checking: bool) -> Iterator[Check]:
    titles = {
        CheckStep.REACH: _("Reach %(host)s on port %(port)s") % {"host": server.host, "port": server.port},
        CheckStep.KEY: _("Compare the host key"),
        CheckStep.LOGIN: _("Log in as %(user)s") % {"user": server.user},
        CheckStep.SHELL: _("Run a command"),
        CheckStep.INSTALL: _("Put the panel's runner there"),
    }
    if server.is_local:
        titles = {step: titles[step] for step in (CheckStep.SHELL, CheckStep.INSTALL)}
    steps = list(CheckStep)
    at = steps.index(CheckStep(server.check_step)) if server.check_step else (0 if is_checking else len(steps))
    for step, title in titles.items():
        here = steps.index(step)
        if here < at:
            yield Check(title, "success")
        elif here > at:
            yield Check(title, "pending")
        elif is_checking:
            yield Check(title, "running")
        else:
            yield Check(title, "failed", told(server.status_message), _by_hand(server, step))


def _by_hand(server: Server, step: CheckStep) -> str:
    """What tells more, or mends it; how the panel is let in stands on the page anyway."""
    if step == CheckStep.REACH:
        return f"ssh -v -p {server.port} {server.user}@{server.host}"
    if step == CheckStep.KEY:
        return "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    return f"chsh -s /bin/sh {server.user}" if step == CheckStep.SHELL else ""


def _found(server: Server) -> Iterator[Check]:
    """What was read of a server that answers, as far as deployments need it."""
    facts = server.facts
    missing = [tool for tool in _PACKAGES if tool not in facts.get("tools", [])]
    packages = " ".join(dict.fromkeys(_PACKAGES[tool] for tool in missing))
    yield Check(
        _("Tools that every deployment needs"),
        "warned" if missing else "success",
        _("Missing: %(tools)s. Deployments fail until they are there.") % {"tools": ", ".join(missing)}
        if missing
        else ", ".join(_PACKAGES),
        f"apt-get install {packages}" if missing else "",
    )
    free, total = facts.get("disk_free_kb"), facts.get("disk_kb")
    if total and free is not None:
        is_full = free < _LEAST_FREE_KB or free * 100 < total * _LEAST_FREE_PERCENT
        text = _("Nearly full: %(disk)s. Releases need room.") if is_full else "%(disk)s"
        yield Check(_("Room on the disk"), "warned" if is_full else "success", text % {"disk": _part(free, total)})
    if facts.get("time") and server.checked_at:
        skew = abs(server.checked_at.timestamp() - facts["time"])
        is_off = skew > _MOST_SKEW_SECONDS
        text = _("It is %(time)s off: certificates and logs go wrong. Have the clock set by NTP.") if is_off else ""
        yield Check(_("Clock"), "warned" if is_off else "success", text % {"time": duration(skew)} if is_off else "")


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
