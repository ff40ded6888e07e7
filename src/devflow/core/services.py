"""How the services of a Compose file are treated in a deployment, and why: pure rules over the resolved configuration.

A service is *replaced* (a new one beside the old, in the project of the release's colour), *left* alone (it keeps data
and is unchanged) or *recreated* in place (two of it cannot run side by side, which the reason tells). What the
release before has and the file has no more is *removed*.

What keeps data never runs twice on the same data: a known store, by its image or by where it mounts a volume; what has
a volume without a name; and what writes a named volume, or a folder of the server, unless two or more services write it
already, and all of them are the application's own: built from the repository, of the image of the service behind the
proxy, or web servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

REPLACED, LEFT, RECREATED, REMOVED = "replaced", "left", "recreated", "removed"
_STORES = frozenset(
    """
    postgres postgresql postgis pgvector timescaledb mysql mariadb percona mongo mongodb redis valkey keydb dragonfly
    kvrocks rabbitmq kafka redpanda zookeeper nats mosquitto elasticsearch opensearch solr meilisearch typesense qdrant
    weaviate milvus chroma minio etcd consul cassandra scylla couchdb couchbase neo4j arangodb influxdb clickhouse
    cockroach cockroachdb rethinkdb surrealdb tarantool mssql registry vault
    """.split()  # noqa: SIM905 (words read better so)
)
_ABOUT_STORES = frozenset(
    """
    exporter express commander insight redisinsight admin ui gui web browser console proxy router bouncer operator
    backup dump client cli tools box mc connect rest
    """.split()  # noqa: SIM905
)
"""Words of images that talk to a store and are none, like redis-commander."""
_FAMILIES = ("mssql", "mysql", "mongodb")
"""Those whose image is called by its edition: mssql/server, mysql/community-server."""
_DATA_PATHS = (
    *(f"/var/lib/{name}" for name in sorted(_STORES)),
    "/data/db",
    "/data/configdb",
    "/bitnami",
    "/var/opt/mssql",
    "/var/solr",
    "/var/lib/influxdb2",
    "/opt/couchdb/data",
    "/opt/couchbase/var",
    "/usr/share/elasticsearch/data",
    "/usr/share/opensearch/data",
    "/qdrant/storage",
    "/meili_data",
    "/etcd-data",
    "/vault/file",
    "/cockroach/cockroach-data",
    "/home/postgres/pgdata",
)
_WEB_SERVERS = frozenset({"nginx", "openresty", "caddy", "httpd", "apache", "traefik", "haproxy", "varnish"})
_OF_THE_SYSTEM = (
    *("/run", "/var/run", "/dev", "/sys", "/proc", "/lib/modules", "/etc/ssl/certs"),
    *("/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/passwd", "/etc/group", "/etc/machine-id"),
)
"""Of the server, and nobody's data: sockets, devices, its clock."""
_LABEL = "devflow.replace"
_IGNORED = ("build", "depends_on", "pull_policy", "profiles")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the file: its name in Docker. One that `is_external` is not made by Compose; one that `is_remote`
    lies on a file server.
    """

    key: str
    name: str
    driver: str = ""
    is_external: bool = False
    is_remote: bool = False

    @property
    def is_local(self) -> bool:
        """Whether each server has one of its own."""
        return self.driver in ("", "local") and not self.is_remote


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about one service; nothing in it is secret.

    `volumes` are the named ones it may write, `folders` those of the host (in the repository: from `./`). `known_paths`
    are those of its mounts where stores keep their data, `unnamed` where it has a volume without a name, `declared` all
    volumes of its image, as far as the server has that. `label` is what its label `devflow.replace` says. `once` is
    true for one that others wait for to have ended. `changed` says in words what is another than in the release before,
    None where there was no such service. `restarts` is false where it does not come back after a reboot. `is_pinned` is
    true where a swarm may not move it to another node.
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
    known_paths: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    label: str = ""
    is_pinned: bool = False
    needs: tuple[str, ...] = ()
    once: bool = False
    restarts: bool = True
    replicas: int = 1
    changed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """A resolved Compose file. `warnings` are what Compose said of it; `removed` are services of the release before
    that it has no more."""

    services: tuple[Facts, ...]
    volumes: tuple[Volume, ...] = ()
    warnings: tuple[str, ...] = ()
    removed: tuple[Facts, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Composition:
        return cls(
            services=tuple(_facts_from(each) for each in document["services"]),
            volumes=tuple(Volume(**each) for each in document["volumes"]),
            warnings=tuple(document["warnings"]),
            removed=tuple(_facts_from(each) for each in document.get("removed", ())),
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
    wait for. `data` are those that keep data; of `accepted` ones somebody said that two may run side by side. `problem`
    is why it cannot be deployed so, with what to do; '' where it can.
    """

    services: tuple[Service, ...] = ()
    proxied: str = ""
    port: int = 0
    early: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
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
    declared: Mapping[str, Sequence[str]] | None = None,
    warnings: Iterable[str] = (),
) -> Composition:
    """The composition of what `docker compose config` printed in `folder`, compared with that of the release before.
    `declared` are the volumes of the services' images, by service, where the images are known."""
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
        found = _facts(name, service, (declared or {}).get(name, ()), folder=folder, once=name in ended)
        if name in earlier:
            found = replace(found, changed=_changes(service, folder, earlier[name], folder_before))
        facts.append(found)
    volumes = [
        Volume(key, each.get("name") or key, each.get("driver") or "", bool(each.get("external")), _is_remote(each))
        for key, each in sorted((config.get("volumes") or {}).items())
    ]
    removed = [
        _facts(name, service, (), folder=folder_before, once=False)
        for name, service in sorted(earlier.items())
        if name not in services
    ]
    return Composition(tuple(facts), tuple(volumes), tuple(warnings), tuple(removed))


def treat(
    composition: Composition,
    choices: Choices,
    *,
    in_place: bool = False,
    has_proxy: bool = True,
    shared: Sequence[str] = (),
    top: Iterable[str] | None = None,
    standby_minutes: int | None = None,
) -> Treatment:
    """What is done with each service; with `in_place` (strategy recreate) nothing is replaced beside the old.

    `shared` are the environment's shared files and folders, `top` the names at the top of the commit where known. For
    `standby_minutes` after the switch the release before goes on running.
    """
    known = {facts.name: facts for facts in composition.services}
    proxied, port, problem = _proxied(composition, choices) if has_proxy or not in_place else ("", 0, "")
    problem = problem or _unknown(choices, known) or _mislabelled(known.values())
    problem = problem or _lost_folders(known.values(), shared, top)
    data = _data(composition, shared, proxied)
    chosen = {name: _one(facts, choices, proxied, data[name], in_place) for name, facts in known.items()}
    _spread(chosen, known)
    services = tuple(chosen[name] for name in known)
    if not problem and not in_place and proxied and chosen[proxied].treatment != REPLACED:
        problem = (
            f"The service {proxied} is behind the proxy and cannot be replaced without downtime: "
            f"{chosen[proxied].reason}. Change that in the Compose file, say that two may run side by side (option "
            f'replace, or the label {_LABEL}: "true"), or take the strategy recreate.'
        )
    replaced = {service.name for service in services if service.treatment == REPLACED}
    needed = _closure(replaced, known)
    accepted = tuple(name for name in sorted(replaced) if name in choices.replace or known[name].label == "true")
    places = {name: _places(facts, shared) for name, facts in known.items()}
    still = {place for each in places.values() for place in each}
    dropped = {facts: tuple(p for p in _places(facts, shared) if p not in still) for facts in composition.removed}
    problem = problem or _spoiled(accepted, known, places, choices)
    risks = _accepted_risks(accepted, known, data, places, standby_minutes)
    removed = tuple(_removed(facts, kept) for facts, kept in dropped.items())
    lost = _removed_data(dropped, in_place=in_place)
    return Treatment(
        services=(*services, *removed),
        proxied=proxied,
        port=port,
        early=tuple(each.name for each in services if each.treatment == RECREATED and each.name in needed),
        once=tuple(facts.name for facts in known.values() if facts.once),
        data=tuple(name for name in known if data[name]),
        accepted=accepted,
        warnings=(*composition.warnings, *lost, *risks, *_warnings(known, services, proxied)),
        problem=problem,
    )


def written(facts: Facts) -> tuple[str, ...]:
    """What the service writes that outlives it: named volumes, and folders of the server (from `/`)."""
    return (*facts.volumes, *(folder for folder in facts.folders if _is_lasting(folder, ())))


# --- facts of a service ---


def _facts(name: str, service: Mapping[str, Any], declared: Sequence[str], *, folder: str, once: bool) -> Facts:
    ports = [port for port in service.get("ports") or [] if (port.get("protocol") or "tcp") == "tcp"]
    exposed = [int(port) for port in service.get("expose") or [] if str(port).isdigit()]
    all_mounts = service.get("volumes") or []
    mounts = [mount for mount in all_mounts if not mount.get("read_only")]
    taken = {str(mount.get("target")).rstrip("/") for mount in all_mounts}
    taken |= {each.partition(":")[0].rstrip("/") for each in _listed(service.get("tmpfs"))}
    unnamed = [str(mount["target"]) for mount in mounts if mount.get("type") == "volume" and not mount.get("source")]
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
        known_paths=tuple(
            str(mount["target"])
            for mount in mounts
            if _is_kept(mount, folder)
            and _is_known_path(str(mount["target"]), () if service.get("build") else declared)
        ),
        unnamed=(*unnamed, *(place for place in declared if place.rstrip("/") not in taken)),
        declared=tuple(declared),
        label=str((service.get("labels") or {}).get(_LABEL) or "").lower(),
        is_pinned=_is_pinned(service.get("deploy") or {}),
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


def _listed(told: Any) -> list[str]:
    return [told] if isinstance(told, str) else list(told or ())


def _is_kept(mount: Mapping[str, Any], folder: str) -> bool:
    """Whether what is written there outlives the release."""
    if mount.get("type") == "bind":
        return not _relative(mount["source"], folder).startswith("./")
    return bool(mount.get("type") == "volume")


def _is_known_path(path: str, declared: Iterable[str]) -> bool:
    return any(_is_in(path.strip("/"), place) for place in (*_DATA_PATHS, *declared))


def _is_pinned(deploy: Mapping[str, Any]) -> bool:
    """Whether its tasks stay on their nodes: one on each, or told by a constraint which."""
    constraints = (deploy.get("placement") or {}).get("constraints") or []
    return deploy.get("mode") == "global" or any(
        re.match(r"(node\.(id|hostname|labels\.\S+)|engine\.labels\.\S+)\s*==", str(each)) for each in constraints
    )


def _is_remote(volume: Mapping[str, Any]) -> bool:
    options = volume.get("driver_opts") or {}
    return str(options.get("type") or "").lower() in _FILE_SERVERS


_FILE_SERVERS = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs")


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


def _one(facts: Facts, choices: Choices, proxied: str, data: str, in_place: bool) -> Service:
    name = facts.name
    for wanted, treatment in ((choices.leave, LEFT), (choices.recreate, RECREATED), (choices.replace, REPLACED)):
        if name in wanted and not (in_place and treatment == REPLACED):
            return Service(name, treatment, "chosen in the settings")
    if facts.label == "true" and not in_place:
        return Service(name, REPLACED, f"its label {_LABEL} says that two may run side by side")
    if data and name != proxied and not facts.is_built:
        return _stateful(facts, data)
    blocked = "the strategy recreates in place" if in_place else _blocked(facts, proxied, data)
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


def _data(composition: Composition, shared: Sequence[str], proxied: str) -> dict[str, str]:
    """By service why it keeps data that only one of it may write; '' where it keeps none, or shares it."""
    names = {volume.key: volume.name for volume in composition.volumes}
    places = {
        facts.name: {
            **{names.get(key, key): f"the volume {key}" for key in facts.volumes},
            **{folder: f"the folder {folder}" for folder in facts.folders if _is_lasting(folder, shared)},
        }
        for facts in composition.services
    }
    known = {facts.name: facts for facts in composition.services}
    application = known[proxied].image if proxied else ""
    return {name: _keeps(facts, places, known, application) for name, facts in known.items()}


def _keeps(facts: Facts, places: Mapping[str, Mapping[str, str]], known: Mapping[str, Facts], application: str) -> str:
    for place, called in places[facts.name].items():
        writers = [known[name] for name, written in places.items() if any(_overlap(place, each) for each in written)]
        is_applications = all(_is_of_application(each, application) for each in writers)
        if len(writers) == 1 and not (is_applications and place.startswith("./")):  # a shared folder is there for that
            return f"it alone writes {called}"
        if not is_applications:
            others = ", ".join(each.name for each in writers if each is not facts)
            return f"it writes {called}, as {others} does, and not all of them are the application's own"
    if facts.known_paths:
        return f"it keeps data in {facts.known_paths[0]}, as stores do"
    if facts.unnamed:
        return f"it keeps data in {facts.unnamed[0]}, a volume without a name"
    return f"{facts.image.rpartition('/')[2]} keeps data" if _is_data(facts) and not facts.is_built else ""


def _is_of_application(facts: Facts, application: str) -> bool:
    """Whether it shares its files with others of its kind, so that one more does no harm."""
    if facts.known_paths or (_is_data(facts) and not facts.is_built):
        return False
    return facts.is_built or facts.image == application or bool(_words(facts.image) & _WEB_SERVERS)


def _is_lasting(folder: str, shared: Sequence[str]) -> bool:
    """Whether what is written there is still there for the next release, and is anybody's data."""
    if folder.startswith("./"):
        return any(_is_in(folder[2:], place) or _is_in(place.strip("/"), folder[2:]) for place in shared)
    return not any(_is_in(folder.strip("/"), place) for place in _OF_THE_SYSTEM)


def _overlap(one: str, other: str) -> bool:
    """Whether two volumes are the same, or one of two folders is in the other."""
    one, other = one.rstrip("/"), other.rstrip("/")
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _words(image: str) -> set[str]:
    """The words of an image's name, without registry and tag."""
    *parents, last = re.sub(r":[^/:]*$", "", image.partition("@")[0]).lower().split("/")
    return set(re.split(r"[-_.]", last)) | {parent for parent in parents[-1:] if parent in _FAMILIES}


def _blocked(facts: Facts, proxied: str, data: str) -> str:
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
    if data:
        return f"{data}, and two at once might spoil or lose it"
    return f"its label {_LABEL} says that two may not run side by side" if facts.label == "false" else ""


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
    words = _words(facts.image)
    return bool(words & _STORES) and not words & _ABOUT_STORES


def _unknown(choices: Choices, known: Mapping[str, Facts]) -> str:
    for option in ("replace", "recreate", "leave"):
        for name in getattr(choices, option):
            if name not in known:
                listed = ", ".join(known) or "none"
                return f"The Compose file has no service {name} (option {option}). It has: {listed}."
    return ""


def _mislabelled(services: Iterable[Facts]) -> str:
    for facts in services:
        if facts.label not in ("", "true", "false"):
            return f'The label {_LABEL} of the service {facts.name} is neither "true" nor "false". Correct it.'
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


def _is_store(facts: Facts) -> bool:
    return _is_data(facts) and not facts.is_built


def _places(facts: Facts, shared: Sequence[str]) -> tuple[str, ...]:
    """What the service writes that others find again, in words."""
    folders = [f"the folder {folder}" for folder in facts.folders if _is_lasting(folder, shared)]
    return (*(f"the volume {key}" for key in facts.volumes), *folders)


def _listing(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _spoiled(
    accepted: Iterable[str], known: Mapping[str, Facts], places: Mapping[str, Sequence[str]], choices: Choices
) -> str:
    """Why a service cannot be replaced whoever said so: two of a store on the same files spoil them."""
    for name in accepted:
        if _is_store(known[name]) and places[name]:
            instead = (
                f"Take {name} out of the option replace"
                if name in choices.replace
                else f'Take the label {_LABEL}: "true" out of the service {name}'
            )
            return (
                f"Two of the service {name} cannot run side by side: both would write {_listing(places[name])}, and "
                f"two of {known[name].image} on the same data spoil it. {instead}: it is then left alone, and "
                "recreated where it has changed."
            )
    return ""


def _removed(facts: Facts, places: Sequence[str]) -> Service:
    is_kept = places or facts.unnamed or _is_store(facts)
    return Service(
        facts.name,
        REMOVED,
        f"no longer in the file or in a profile that is on{'; its volumes stay' if is_kept else ''}",
    )


def _removed_data(removed: Mapping[Facts, Sequence[str]], *, in_place: bool) -> list[str]:
    """What becomes of what services keep that the file has no more."""
    told = []
    when = "" if in_place else " after the switch, though the release on standby may need it"
    for facts, places in removed.items():
        unnamed = tuple(f"{place}, a volume without a name" for place in facts.unnamed)
        kept = _listing((*places, *unnamed))
        if not kept and not _is_store(facts):
            continue
        begins_empty = " With a volume without a name it then begins with an empty one." if not places else ""
        told.append(
            f"The service {facts.name} keeps data{f' ({kept})' if kept else ''} and is not in the Compose file any "
            f"more: it is stopped and removed{when}. Its data stays on the server, and a rollback starts "
            f"it again.{begins_empty}"
        )
    return told


def _accepted_risks(
    accepted: Iterable[str],
    known: Mapping[str, Facts],
    data: Mapping[str, str],
    places: Mapping[str, Sequence[str]],
    standby_minutes: int | None,
) -> list[str]:
    """What may become of the data of services that are replaced because somebody said so."""
    told = []
    for_how_long = "for a while"
    if standby_minutes is not None:
        for_how_long = (
            f"until {standby_minutes} minutes after the switch" if standby_minutes else "until the old is drained"
        )
    for name in accepted:
        if known[name].unnamed:
            unnamed = ", ".join(known[name].unnamed)
            told.append(
                f"Each release of the service {name} begins with an empty {unnamed}: a volume without a name. To keep "
                "what is in it, give it a name in the Compose file."
            )
        elif data[name]:
            both = f" Both write {_listing(places[name])}." if len(places[name]) > 1 else ""
            why = f"as was chosen, although {data[name]}.{both}"
            told.append(f"Two of the service {name} run side by side {for_how_long}, {why}")
    return told


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
        "data": " ".join(treatment.data),
        "accepted": " ".join(treatment.accepted),
        "proxied": treatment.proxied,
        "proxied_port": str(treatment.port or ""),
    }
