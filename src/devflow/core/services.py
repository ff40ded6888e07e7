"""How the services of a Compose file are treated in a deployment, and why: pure rules over the resolved configuration.

A service is *replaced* (a new one beside the old, in the project of the release's colour), *left* alone (it keeps data
and is unchanged) or *recreated* in place (two of it cannot run side by side, which the reason tells).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

REPLACED, LEFT, RECREATED = "replaced", "left", "recreated"
_DATABASES = re.compile(
    r"(?:^|/)(?:mssql/server|postgres|postgis|pgvector|timescaledb|mysql|mariadb|percona|mongo|redis|valkey|keydb|memcached|rabbitmq"
    r"|kafka|zookeeper|nats|elasticsearch|opensearch|solr|meilisearch|typesense|minio|etcd|cassandra|scylla|couchdb"
    r"|neo4j|influxdb|clickhouse(?:-server)?|cockroach|registry|vault)(?:[:@]|$)"
)
_IGNORED = ("build", "depends_on", "pull_policy", "profiles")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the file: its name in Docker. One that `is_external` is not made by Compose."""

    key: str
    name: str
    driver: str = ""
    is_external: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about one service; nothing in it is secret.

    `volumes` are the named ones it may write, `folders` those of the host (in the repository: from `./`). `once` is
    true for one that others wait for to have ended. `changed` says in words what is another than in the release before,
    None where there was no such service. `restarts` is false where it does not come back after a reboot.
    """

    name: str
    image: str = ""
    is_built: bool = False
    ports: tuple[int, ...] = ()
    host_ports: tuple[str, ...] = ()
    container_name: str = ""
    namespaces: tuple[str, ...] = ()
    has_devices: bool = False
    addresses: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    once: bool = False
    restarts: bool = True
    replicas: int = 1
    changed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """A resolved Compose file. `warnings` are what Compose said of it."""

    services: tuple[Facts, ...]
    volumes: tuple[Volume, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Composition:
        return cls(
            services=tuple(_facts_from(each) for each in document["services"]),
            volumes=tuple(Volume(**each) for each in document["volumes"]),
            warnings=tuple(document["warnings"]),
        )


@dataclass(frozen=True, slots=True)
class Choices:
    """What was set: `service` and `port` behind the proxy, and services to be treated otherwise."""

    service: str = ""
    port: str = ""
    replace: tuple[str, ...] = ()
    recreate: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One line of a plan: what is done with a service, and why."""

    name: str
    treatment: str
    reason: str


@dataclass(frozen=True, slots=True)
class Treatment:
    """`proxied` is the service behind the proxy, listening on `port`; `early` are recreated ones that replaced ones
    wait for. `problem` is why it cannot be deployed so, with what to do; '' where it can."""

    services: tuple[Service, ...] = ()
    proxied: str = ""
    port: int = 0
    early: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""

    def of(self, treatment: str) -> tuple[str, ...]:
        return tuple(service.name for service in self.services if service.treatment == treatment)


def read(
    config: Mapping[str, Any],
    *,
    folder: str,
    before: Mapping[str, Any] | None = None,
    folder_before: str = "",
    warnings: Iterable[str] = (),
) -> Composition:
    """The composition of what `docker compose config` printed in `folder`, compared with that of the release before."""
    services = config.get("services") or {}
    ended = {
        name
        for service in services.values()
        for name, how in (service.get("depends_on") or {}).items()
        if how.get("condition") == "service_completed_successfully"
    }
    earlier = (before or {}).get("services") or {}
    facts = []
    for name, service in sorted(services.items()):
        found = _facts(name, service, folder=folder, once=name in ended)
        if name in earlier:
            found = replace(found, changed=_changes(service, folder, earlier[name], folder_before))
        facts.append(found)
    volumes = [
        Volume(key, each.get("name") or key, each.get("driver") or "", bool(each.get("external")))
        for key, each in sorted((config.get("volumes") or {}).items())
    ]
    return Composition(tuple(facts), tuple(volumes), tuple(warnings))


def treat(
    composition: Composition,
    choices: Choices,
    *,
    in_place: bool = False,
    has_proxy: bool = True,
    shared: Sequence[str] = (),
    top: Iterable[str] | None = None,
) -> Treatment:
    """What is done with each service; with `in_place` (strategy recreate) nothing is replaced beside the old.

    `shared` are the environment's shared files and folders, `top` the names at the top of the commit where known.
    """
    known = {facts.name: facts for facts in composition.services}
    proxied, port, problem = _proxied(composition, choices) if has_proxy or not in_place else ("", 0, "")
    problem = problem or _unknown(choices, known) or _lost_folders(known.values(), shared, top)
    exclusive = _exclusive(composition)
    chosen = {name: _one(facts, choices, proxied, exclusive, in_place) for name, facts in known.items()}
    _spread(chosen, known)
    services = tuple(chosen[name] for name in known)
    if not problem and not in_place and proxied and chosen[proxied].treatment != REPLACED:
        problem = (
            f"The service {proxied} is behind the proxy and cannot be replaced without downtime: "
            f"{chosen[proxied].reason}. Change that in the Compose file, say that two may run side by side (option "
            "replace), or take the strategy recreate."
        )
    replaced = {service.name for service in services if service.treatment == REPLACED}
    needed = _closure(replaced, known)
    return Treatment(
        services=services,
        proxied=proxied,
        port=port,
        early=tuple(each.name for each in services if each.treatment == RECREATED and each.name in needed),
        once=tuple(facts.name for facts in known.values() if facts.once),
        warnings=(*composition.warnings, *_warnings(known, services, proxied)),
        problem=problem,
    )


# --- facts of a service ---


def _facts(name: str, service: Mapping[str, Any], *, folder: str, once: bool) -> Facts:
    ports = [port for port in service.get("ports") or [] if (port.get("protocol") or "tcp") == "tcp"]
    exposed = [int(port) for port in service.get("expose") or [] if str(port).isdigit()]
    mounts = [mount for mount in service.get("volumes") or [] if not mount.get("read_only")]
    networks = (service.get("networks") or {}).values()
    restart = (service.get("restart") or "no").partition(":")[0]
    policy = ((service.get("deploy") or {}).get("restart_policy") or {}).get("condition")
    return Facts(
        name=name,
        image=str(service.get("image") or ""),
        is_built=bool(service.get("build")),
        ports=tuple(dict.fromkeys([*(int(port["target"]) for port in ports), *exposed])),
        host_ports=tuple(_shown_port(port) for port in service.get("ports") or [] if port.get("published")),
        container_name=str(service.get("container_name") or ""),
        namespaces=_namespaces(service),
        has_devices=bool(service.get("devices")),
        addresses=tuple(
            str(network[key]) for network in networks if network for key in _FIXED_ADDRESS if network.get(key)
        ),
        volumes=tuple(mount["source"] for mount in mounts if mount.get("type") == "volume" and mount.get("source")),
        folders=tuple(_relative(mount["source"], folder) for mount in mounts if mount.get("type") == "bind"),
        needs=tuple(service.get("depends_on") or {}),
        once=once,
        restarts=once or restart in ("always", "unless-stopped") or policy == "any",
        replicas=int((service.get("deploy") or {}).get("replicas") or service.get("scale") or 1),
    )


_FIXED_ADDRESS = ("ipv4_address", "ipv6_address", "mac_address")


def _namespaces(service: Mapping[str, Any]) -> tuple[str, ...]:
    """Like `network_mode: host`: what is shared with the host or another container."""
    found = [(key, str(service.get(key) or "")) for key in ("network_mode", "pid", "ipc", "uts")]
    shared = [f"{key}: {value}" for key, value in found if value == "host" or ":" in value]
    return (*shared, *("volumes_from" for _ in (service.get("volumes_from") or [])[:1]))


def _shown_port(port: Mapping[str, Any]) -> str:
    address = f"{port['host_ip']}:" if port.get("host_ip") else ""
    protocol = f"/{port['protocol']}" if port.get("protocol") not in (None, "tcp") else ""
    return f"{address}{port['published']}{protocol}"


def _relative(path: str, folder: str) -> str:
    if path == folder:
        return "./"
    return f"./{path[len(folder) + 1 :]}" if path.startswith(f"{folder}/") else path


def _facts_from(document: Mapping[str, Any]) -> Facts:
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
    return Facts(**known)  # type: ignore[arg-type]


def _changes(now: Mapping[str, Any], folder: str, before: Mapping[str, Any], folder_before: str) -> tuple[str, ...]:
    """What is another than it was. Values are not told, but those of images: they may be secret."""
    left, right = _placed(now, folder), _placed(before, folder_before)
    found = []
    for key in sorted(left.keys() | right.keys()):
        if key in _IGNORED or (left.get(key) or None) == (right.get(key) or None):
            continue
        if key == "image":
            found.append(f"image {right.get(key) or 'built here'} → {left.get(key) or 'built here'}")
        elif key == "environment":
            found.append(f"environment ({_differing(left.get(key) or {}, right.get(key) or {})})")
        else:
            found.append(key)
    return tuple(found)


def _differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    names = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _placed(value: Any, folder: str) -> Any:
    """The same wherever the files lie."""
    if isinstance(value, Mapping):
        return {key: _placed(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_placed(each, folder) for each in value]
    return _relative(value, folder) if folder and isinstance(value, str) else value


# --- the rules ---


def _one(facts: Facts, choices: Choices, proxied: str, exclusive: Mapping[str, str], in_place: bool) -> Service:
    name = facts.name
    for wanted, treatment in ((choices.leave, LEFT), (choices.recreate, RECREATED), (choices.replace, REPLACED)):
        if name in wanted and not (in_place and treatment == REPLACED):
            return Service(name, treatment, "chosen in the settings")
    holds = "" if name == proxied or facts.is_built else _holds(facts, exclusive)
    if holds:
        return _stateful(facts, holds)
    blocked = "the strategy recreates in place" if in_place else _blocked(facts, proxied, exclusive)
    if not blocked:
        return Service(name, REPLACED, _how_replaced(facts, proxied))
    if facts.changed == () and not facts.is_built:
        return Service(name, LEFT, f"unchanged; a change would recreate it: {blocked}")
    return Service(name, RECREATED, blocked)


def _stateful(facts: Facts, holds: str) -> Service:
    if facts.changed:
        told = ", ".join(facts.changed)
        return Service(facts.name, RECREATED, f"changed: {told}; {holds}, which is kept, so that only one can run")
    if facts.changed is None:
        return Service(facts.name, LEFT, f"{holds}: started once, then left alone")
    return Service(facts.name, LEFT, f"{holds}, and it is unchanged")


def _holds(facts: Facts, exclusive: Mapping[str, str]) -> str:
    for volume in facts.volumes:
        if volume in exclusive:
            return f"it alone writes the volume {volume}"
    if _is_data(facts):
        return f"{facts.image.rpartition('/')[2]} keeps data"
    return ""


def _is_database(image: str) -> bool:
    return bool(_DATABASES.search(image.partition("@")[0]))


def _blocked(facts: Facts, proxied: str, exclusive: Mapping[str, str]) -> str:
    """Why two of it cannot run side by side; '' where they can."""
    if facts.container_name:
        return f"container_name: {facts.container_name} can be that of one container only"
    if facts.namespaces:
        return f"{', '.join(facts.namespaces)}: it shares what cannot be had twice"
    if facts.host_ports and facts.name != proxied:
        return f"it publishes port {', '.join(facts.host_ports)} of the server, which one container only can have"
    if facts.addresses:
        return f"it has the fixed address {', '.join(facts.addresses)}"
    if facts.has_devices:
        return "it uses devices of the server"
    for volume in facts.volumes:
        if volume in exclusive:
            return f"it alone writes the volume {volume}, and two at once might spoil it"
    return ""


def _how_replaced(facts: Facts, proxied: str) -> str:
    if facts.name == proxied:
        instead = f"; the proxy takes the place of port {', '.join(facts.host_ports)}" if facts.host_ports else ""
        return f"behind the proxy: a new one beside the old, checked, then the proxy is switched{instead}"
    if facts.once:
        return "runs to its end in the new colour, before what waits for it"
    return "nothing in it forbids two side by side: it runs with the colour of its release"


def _spread(chosen: dict[str, Service], known: Mapping[str, Facts]) -> None:
    """What a service that stays in the base waits for must be in the base too, to be reached by its name."""
    waiting = [name for name, service in chosen.items() if service.treatment != REPLACED]
    while waiting:
        user = waiting.pop()
        for name in known[user].needs:
            if name in chosen and chosen[name].treatment == REPLACED:
                reason = f"{user} is not replaced and reaches it by its name (depends_on)"
                chosen[name] = Service(name, RECREATED, reason)
                waiting.append(name)


def _closure(names: set[str], known: Mapping[str, Facts]) -> set[str]:
    found, waiting = set(names), list(names)
    while waiting:
        fresh = [need for need in known[waiting.pop()].needs if need in known and need not in found]
        found.update(fresh)
        waiting += fresh
    return found


def _exclusive(composition: Composition) -> dict[str, str]:
    """Volumes that one service alone writes, with its name."""
    writers: dict[str, set[str]] = {}
    for facts in composition.services:
        for volume in facts.volumes:
            writers.setdefault(volume, set()).add(facts.name)
    return {volume: next(iter(names)) for volume, names in writers.items() if len(names) == 1}


def _proxied(composition: Composition, choices: Choices) -> tuple[str, int, str]:
    """The service behind the proxy, its port in the container, or why that is not clear."""
    known = {facts.name: facts for facts in composition.services}
    if choices.service:
        facts = known.get(choices.service)
        if facts is None:
            listed = ", ".join(known) or "none"
            return "", 0, f"The Compose file has no service {choices.service} (option service). It has: {listed}."
    else:
        published = [facts for facts in known.values() if facts.host_ports and facts.ports and not _is_data(facts)]
        candidates = published or [facts for facts in known.values() if facts.ports and not _is_data(facts)]
        if len(candidates) != 1:
            seen = ", ".join(facts.name for facts in candidates) or "none that publishes a port"
            return "", 0, f"Say which service is behind the proxy (option service): the Compose file has {seen}."
        facts = candidates[0]
    if choices.port:
        return facts.name, int(choices.port), ""
    if len(facts.ports) == 1:
        return facts.name, facts.ports[0], ""
    listed = ", ".join(map(str, facts.ports)) or "none"
    return (
        facts.name,
        0,
        f"Say on which port the service {facts.name} listens (option container_port): it has {listed}.",
    )


def _is_data(facts: Facts) -> bool:
    return bool(facts.image) and _is_database(facts.image)


def _unknown(choices: Choices, known: Mapping[str, Facts]) -> str:
    for option in ("replace", "recreate", "leave"):
        for name in getattr(choices, option):
            if name not in known:
                listed = ", ".join(known) or "none"
                return f"The Compose file has no service {name} (option {option}). It has: {listed}."
    return ""


def _lost_folders(services: Iterable[Facts], shared: Sequence[str], top: Iterable[str] | None) -> str:
    """A folder for data beside the files of the commit would be new, and empty, with each release."""
    names = None if top is None else set(top)
    for facts in services:
        for folder in facts.folders:
            if not folder.startswith("./") or any(_is_in(folder[2:], place) for place in shared):
                continue
            is_new = names is not None and folder[2:].partition("/")[0] not in {*names, ""}
            if is_new or _is_data(facts):
                return (
                    f"The service {facts.name} keeps data in {folder}, beside the files of the commit: each release "
                    f"would begin with an empty one. Make it a shared folder ({folder[2:]}) or a named volume."
                )
    return ""


def _is_in(path: str, place: str) -> bool:
    place = place.strip("/")
    return path == place or path.startswith(f"{place}/")


def _warnings(known: Mapping[str, Facts], services: Iterable[Service], proxied: str) -> list[str]:
    asleep = [name for name, facts in known.items() if not facts.restarts]
    told = []
    if asleep:
        told.append(
            f"These services do not come back after a reboot: {', '.join(asleep)}. Give them restart: unless-stopped."
        )
    if proxied and known[proxied].replicas > 1:
        told.append(
            f"The service {proxied} runs once in each colour, not {known[proxied].replicas} times: one port is its."
        )
    return told


def lists(treatment: Treatment) -> dict[str, str]:
    """What a script needs to know of the treatment: words for shell variables."""
    found = {kind: " ".join(treatment.of(kind)) for kind in (REPLACED, LEFT, RECREATED)}
    return found | {
        "early": " ".join(treatment.early),
        "once": " ".join(treatment.once),
        "proxied": treatment.proxied,
        "proxied_port": str(treatment.port or ""),
    }
