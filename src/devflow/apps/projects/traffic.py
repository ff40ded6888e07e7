"""Settings of how requests reach an environment: domains, ports, the strategy's options, an own site file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django_scopes import scopes_disabled

from devflow.apps.projects.models import Environment
from devflow.apps.projects.options import strategy_options_check
from devflow.apps.servers.models import Server
from devflow.commands.adopting import unnamed
from devflow.commands.nginx import DOMAINS
from devflow.core import names
from devflow.core.errors import InvalidError
from devflow.engine.plan import Site, Target
from devflow.strategies import STRATEGIES

PROXIES = ("", "nginx")
FIRST_PORT, LAST_PORT = 21000, 32000
"""Below those that Linux gives to outgoing connections."""
LONGEST_TEMPLATE = 100_000


def strategy_options_fill(environment: Environment, given: Mapping[str, Any] | None) -> None:
    """Checks the options given; without any, those of the strategy before go that this one does not have."""
    if given is not None:
        environment.strategy_options = strategy_options_check(environment.strategy, given)
        return
    environment.strategy_options = _valid_options(environment)


def _valid_options(environment: Environment) -> dict[str, str]:
    known = {option.name: option for option in STRATEGIES[environment.strategy].OPTIONS}
    return {
        name: value
        for name, value in environment.strategy_options.items()
        if name in known and not known[name].problem(value)
    }


def clash_of(environment: Environment, servers: Iterable[Server]) -> dict[str, str]:
    """Settings that the strategy could never deploy with these servers: by field, why; {} where there are none."""
    strategy = STRATEGIES[environment.strategy]
    if not hasattr(strategy, "clash"):
        return {}
    balancer = environment.balancer
    site = Site(
        name="",
        environment_id="",
        repository="",
        mirror="",
        branch=environment.branch,
        root=environment.root,
        keep=environment.keep,
        targets=tuple(Target(server.pk.hex, server.name, server.host) for server in servers),
        strategy_options=_valid_options(environment),
        balancer=Target(balancer.pk.hex, balancer.name, balancer.host) if balancer else None,
    )
    found: dict[str, str] = strategy.clash(site)
    return found


def template_check(value: str) -> str:
    """The text of an own site file. Raises InvalidError; nginx itself tests it in a deployment."""
    if not isinstance(value, str) or len(value) > LONGEST_TEMPLATE:
        message = f"Give a site file of at most {LONGEST_TEMPLATE:,} characters."
        raise InvalidError(message, {"proxy_template": message})
    return names.storable(value, "proxy_template").replace("\r\n", "\n").strip()


def refuse_taken_domains(environment: Environment, servers: Iterable[Server]) -> None:
    """One environment for a domain on the same machine. Raises InvalidError."""
    wanted = set(environment.domains)
    if not wanted:
        return
    machines = _machines(environment, servers)
    for other in _others(environment).filter(domains__overlap=list(wanted)):
        if machines & _machines(other, other.servers.all()):
            taken = ", ".join(sorted(wanted & set(other.domains)))
            message = f"{taken} is served by {other} on the same server. Take it away there first, or choose another."
            raise InvalidError(message, {"domains": message})


def unnamed_domains(environment: Environment) -> tuple[str, ...]:
    """The domains that the environment's own site file does not name, so that they would not reach it for sure."""
    if not environment.proxy or not environment.proxy_template:
        return ()
    return unnamed(environment.proxy_template, environment.domains)


def unnamed_words(domains: Iterable[str]) -> str:
    """What that means, and what to do."""
    return (
        f"{', '.join(domains)}: the own site file of the environment does not have that in a server_name, so nginx "
        f"would give its requests to any site. Write {DOMAINS} there, which stands for all domains of the environment "
        "(server_name @domains@;), or give up the own site file: empty, the panel's own is written."
    )


def refuse_unnamed_domains(environment: Environment, *, known: Iterable[str], field: str) -> None:
    """No setting makes the environment promise a domain that its own site file does not serve. What was so before
    (`known`) is only told by the plan: it may be reached as nginx's default. Raises InvalidError at `field`."""
    if missing := [domain for domain in unnamed_domains(environment) if domain not in known]:
        message = unnamed_words(missing)
        raise InvalidError(message, {field: message})


def port_choose(environment: Environment, servers: Iterable[Server]) -> None:
    """Sees that the two ports are nobody else's on the environment's machines, and chooses them where it needs some and
    has none. Raises InvalidError."""
    if environment.port is None and environment.strategy == "atomic":
        return
    machines = _machines(environment, servers)
    with scopes_disabled():  # machines may be shared by teams, and so are their ports
        others = Environment.objects.exclude(pk=environment.pk).exclude(port=None)
        near = [
            other
            for other in others.select_related("balancer", "builder").prefetch_related("servers")
            if machines & _machines(other, other.servers.all())
        ]
    taken = {port for other in near if other.port for port in (other.port, other.port + 1)}
    if environment.port is None:
        free = (port for port in range(FIRST_PORT, LAST_PORT, 2) if not {port, port + 1} & taken)
        environment.port = next(free, None)
        if environment.port is None:
            message = "No two ports are free on these servers. Choose others."
            raise InvalidError(message, {"servers": message})
    elif {environment.port, environment.port + 1} & taken:
        message = f"Port {environment.port} or the next one is another environment's on the same server."
        raise InvalidError(f"{message} Leave it empty to have one chosen.", {"port": message})


def _others(environment: Environment) -> Any:
    others = Environment.objects.exclude(pk=environment.pk)
    return others.select_related("project", "balancer", "builder").prefetch_related("servers")


def _machines(environment: Environment, servers: Iterable[Server]) -> set[tuple[str, int]]:
    return {server.machine for server in (*servers, environment.balancer, environment.builder) if server}
