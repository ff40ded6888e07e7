"""How services of a Compose file are treated: a table of configurations, as `docker compose config` prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devflow.core.services import Choices, Composition, Treatment, Volume, lists, read, treat

FOLDER = "/srv/www/shop/releases/2"
BEFORE = "/srv/www/shop/releases/1"


def port(target: int, published: str | None = None, **more: Any) -> dict[str, Any]:
    return {"target": target, "protocol": "tcp", **({"published": published} if published else {}), **more}


def volume(source: str, target: str = "/data", **more: Any) -> dict[str, Any]:
    return {"type": "volume", "source": source, "target": target, **more}


def bind(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": "/x", **more}


WEB = {"build": {"context": FOLDER}, "ports": [port(8000, "8080")], "restart": "always"}
DB = {"image": "postgres:16", "volumes": [volume("data")], "restart": "always"}


def composition(before: dict[str, Any] | None = None, **services: Any) -> Composition:
    config = {
        "services": services,
        "volumes": {
            "data": {"name": "base_data"},
            "up": {"name": "base_up", "driver": "nfs"},
            "old": {"external": True},
        },
    }
    earlier = None if before is None else {"services": before}
    return read(config, folder=FOLDER, before=earlier, folder_before=BEFORE)


def treated(services: dict[str, Any], before: dict[str, Any] | None = None, **choices: Any) -> Treatment:
    return treat(composition(before, **services), Choices(**choices))


def told(treatment: Treatment) -> dict[str, tuple[str, str]]:
    return {each.name: (each.treatment, each.reason) for each in treatment.services}


def test_a_usual_project() -> None:
    found = treated({"web": WEB, "db": DB, "worker": {"build": {"context": FOLDER}, "restart": "always"}})
    assert found.problem == ""
    assert found.warnings == ()
    assert (found.proxied, found.port) == ("web", 8000)
    assert told(found) == {
        "db": ("left", "it alone writes the volume data: started once, then left alone"),
        "web": (
            "replaced",
            "behind the proxy: a new one beside the old, checked, then the proxy is switched; the proxy takes the "
            "place of port 8080",
        ),
        "worker": ("replaced", "nothing in it forbids two side by side: it runs with the colour of its release"),
    }


@pytest.mark.parametrize(
    ("service", "treatment", "reason"),
    [
        ({"image": "x"}, "replaced", "nothing in it forbids"),
        ({"image": "x", "container_name": "only"}, "recreated", "container_name: only"),
        (
            {"image": "x", "ports": [port(25, "25", host_ip="127.0.0.1")]},
            "recreated",
            "port 127.0.0.1:25 of the server",
        ),
        ({"image": "x", "ports": [port(53, "53", protocol="udp")]}, "recreated", "port 53/udp of the server"),
        ({"image": "x", "ports": [port(25)]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "network_mode": "host"}, "recreated", "network_mode: host"),
        ({"image": "x", "network_mode": "service:db"}, "recreated", "network_mode: service:db"),
        ({"image": "x", "network_mode": "none"}, "replaced", "nothing in it forbids"),
        ({"image": "x", "pid": "host", "ipc": "host"}, "recreated", "pid: host, ipc: host"),
        ({"image": "x", "volumes_from": ["db"]}, "recreated", "volumes_from"),
        ({"image": "x", "devices": ["/dev/kvm:/dev/kvm"]}, "recreated", "devices"),
        ({"image": "x", "networks": {"default": {"ipv4_address": "10.0.0.2"}}}, "recreated", "fixed address 10.0.0.2"),
        ({"image": "x", "networks": {"default": None}}, "replaced", "nothing in it forbids"),
        ({"image": "x", "volumes": [volume("up")]}, "left", "it alone writes the volume up"),
        ({"image": "x", "volumes": [volume("up", read_only=True)]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "volumes": [volume("data")]}, "left", "it writes the volume data, as db does, and not all"),
        ({"build": {"context": FOLDER}, "volumes": [volume("up")]}, "recreated", "it alone writes the volume up"),
        (
            {"build": {"context": FOLDER}, "volumes": [volume("up")], "ports": [port(1, "1")]},
            "recreated",
            "publishes port 1",
        ),
        ({"image": "x", "volumes": [bind("/srv/files")]}, "left", "it alone writes the folder /srv/files"),
        ({"image": "x", "volumes": [bind("/srv/files", read_only=True)]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "volumes": [bind("/var/run/docker.sock")]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "volumes": [bind("/etc/localtime")]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "volumes": [bind(f"{FOLDER}/nginx.conf")]}, "replaced", "nothing in it forbids"),
        ({"build": {"context": FOLDER}, "volumes": [bind("/srv/files")]}, "recreated", "alone writes the folder"),
        ({"image": "x", "volumes": [{"type": "volume", "target": "/d"}]}, "left", "keeps data in /d, a volume without"),
        ({"image": "x", "volumes": [{"type": "tmpfs", "target": "/d"}]}, "replaced", "nothing in it forbids"),
        ({"image": "x", "labels": {"devflow.replace": "false"}}, "recreated", "says that two may not run"),
        (
            {"image": "redis:7", "labels": {"devflow.replace": "true"}},
            "replaced",
            "its label devflow.replace says that two may run side by side",
        ),
        ({"image": "redis:7-alpine"}, "left", "redis:7-alpine keeps data"),
        ({"image": "registry.test:5000/team/mariadb@sha256:00"}, "left", "keeps data"),
        ({"image": "mcr.microsoft.com/mssql/server:2022"}, "left", "server:2022 keeps data"),
        ({"image": "team/server:2"}, "replaced", "nothing in it forbids"),
        ({"image": "redis-commander"}, "replaced", "nothing in it forbids"),
    ],
)
def test_one_service_beside_web_and_db(service: dict[str, Any], treatment: str, reason: str) -> None:
    found = told(treated({"web": WEB, "db": DB, "it": service}))["it"]
    assert found[0] == treatment
    assert reason in found[1]


@pytest.mark.parametrize(
    ("change", "treatment", "reason"),
    [
        ({}, "left", "it alone writes the volume data, and it is unchanged"),
        (
            {"image": "postgres:15"},
            "recreated",
            "changed: image postgres:15 → postgres:16; it alone writes the volume data",
        ),
        ({"environment": {"PASSWORD": "old"}}, "recreated", "changed: environment (PASSWORD);"),
        ({"command": ["postgres", "-c", "secret"]}, "recreated", "changed: command;"),
        ({"depends_on": {"web": {}}, "labels": {}, "entrypoint": None}, "left", "unchanged"),
    ],
)
def test_what_keeps_data_is_recreated_when_it_has_changed(change: dict[str, Any], treatment: str, reason: str) -> None:
    found = told(treated({"web": WEB, "db": DB}, {"db": {**DB, **change}}))["db"]
    assert found[0] == treatment
    assert reason in found[1]


def test_values_of_variables_are_not_told() -> None:
    services = {"web": WEB, "db": {**DB, "environment": {"PASSWORD": "hunter2", "SAME": "1"}}}
    before = {"db": {**DB, "environment": {"PASSWORD": "hunter1", "SAME": "1"}}}
    found = composition(before, **services)
    assert "hunter" not in json.dumps(found.to_json())
    assert Composition.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_paths_in_the_release_are_the_same_ones() -> None:
    now = {**DB, "volumes": [volume("data"), bind(f"{FOLDER}/init.sql", read_only=True)]}
    before = {**DB, "volumes": [volume("data"), bind(f"{BEFORE}/init.sql", read_only=True)]}
    assert told(treated({"web": WEB, "db": now}, {"db": before}))["db"][0] == "left"


@pytest.mark.parametrize(
    "image",
    """
    postgres postgres:16-alpine bitnami/postgresql:16 bitnami/postgresql-repmgr docker.io/library/mysql:8
    mysql/mysql-server mysql/community-server:8.4 mariadb:11 bitnami/mariadb-galera percona/percona-server
    mongo:7 bitnami/mongodb-sharded
    mongodb/mongodb-community-server redis/redis-stack redis/redis-stack-server:7 bitnami/redis-cluster valkey/valkey
    eqalpha/keydb timescale/timescaledb-ha:pg16 postgis/postgis pgvector/pgvector:pg16 clickhouse/clickhouse-server
    cassandra neo4j:5 influxdb minio/minio rabbitmq:3-management nats:2 nats-streaming confluentinc/cp-kafka
    apache/kafka:3.8 getmeili/meilisearch typesense/typesense qdrant/qdrant semitechnologies/weaviate solr couchdb
    bitnami/etcd quay.io/coreos/etcd:v3.5 reg.test:5000/team/postgres@sha256:00 mcr.microsoft.com/mssql/server:2022
    """.split(),  # noqa: SIM905
)
def test_stores_are_known_by_their_images(image: str) -> None:
    assert told(treated({"web": WEB, "it": {"image": image}}))["it"][0] == "left"


@pytest.mark.parametrize(
    "image",
    """
    memcached memcached:1.6-alpine redis-commander rediscommander/redis-commander mongo-express oliver006/redis_exporter
    provectuslabs/kafka-ui redis/redisinsight mysql/mysql-router prom/mysqld-exporter postgrest/postgrest adminer
    phpmyadmin nginx:alpine minio/mc team/server:2 natsio/nats-box
    """.split(),  # noqa: SIM905
)
def test_what_keeps_nothing_may_run_twice(image: str) -> None:
    assert told(treated({"web": WEB, "it": {"image": image}}))["it"][0] == "replaced"


@pytest.mark.parametrize(
    "target",
    [
        "/var/lib/postgresql/data",
        "/var/lib/mysql",
        "/data/db",
        "/bitnami/postgresql",
        "/var/lib/redis",
        "/qdrant/storage",
    ],
)
def test_a_mount_where_stores_keep_data_is_one(target: str) -> None:
    """Though another service of the application writes the same volume."""
    for source in (volume("up", target), bind("/srv/pg") | {"target": target}):
        services = {"web": WEB, "it": {"image": "acme/own", "volumes": [source]}}
        assert told(treated(services))["it"][0] == "left"
        built = {"build": {"context": FOLDER}, "volumes": [source]}
        found = told(treated({"web": WEB, "it": built, "other": {**built, "restart": "always"}}))
        assert (found["it"][0], found["other"][0]) == ("recreated", "recreated")


def test_the_data_of_a_store_that_a_backup_writes_too() -> None:
    """Whatever the two images are called."""
    for backup in ("acme/store", "alpine", "offen/docker-volume-backup"):
        store = {"image": "acme/store", "volumes": [volume("up")], "restart": "always"}
        services = {"web": WEB, "store": store, "backup": {**store, "image": backup}}
        found = told(treated(services))
        assert found["store"] == (
            "left",
            "it writes the volume up, as backup does, and not all of them are the application's own: started once, "
            "then left alone",
        )
        assert found["backup"][0] == "left"
        services["backup"]["volumes"] = [volume("up", read_only=True)]
        found = told(treated(services))
        assert found["store"][0] == "left"
        assert found["backup"][0] == "replaced"


def test_names_of_the_same_place_are_one() -> None:
    config = {
        "services": {
            "web": WEB,
            "a": {"build": {"context": FOLDER}, "volumes": [volume("one")]},
            "b": {"image": "acme/store", "volumes": [volume("two")]},
            "c": {"build": {"context": FOLDER}, "volumes": [bind("/srv/files")]},
            "d": {"image": "acme/store", "volumes": [bind("/srv/files/pg/")]},
        },
        "volumes": {"one": {"name": "same"}, "two": {"name": "same", "external": True}},
    }
    found = told(treat(read(config, folder=FOLDER), Choices()))
    assert "as b does" in found["a"][1]
    assert "as d does" in found["c"][1]
    assert (found["b"][0], found["d"][0]) == ("left", "left")


@pytest.mark.parametrize("mount", [volume("up"), bind("/srv/uploads")])
def test_an_upload_folder_of_one_application_is_shared(mount: dict[str, Any]) -> None:
    pulled = {"image": "ghcr.io/team/shop:1", "volumes": [mount], "restart": "always"}
    built = {"build": {"context": FOLDER}, "volumes": [mount], "restart": "always"}
    proxy = {"image": "nginx:alpine", "volumes": [mount], "restart": "always"}
    for own in (pulled, built):
        web = {**own, "ports": [port(8000, "8080")]}
        found = treated({"web": web, "worker": own, "files": proxy})
        assert found.problem == ""
        assert {each.treatment for each in found.services} == {"replaced"}
        assert found.data == ()
        alien = {**own, "build": None, "image": "acme/store"}
        found = treated({"web": web, "worker": own, "store": alien})
        assert "it writes the volume up" in found.problem or "it writes the folder /srv/uploads" in found.problem


def test_a_shared_folder_of_the_environment_is_data() -> None:
    services = {"web": WEB, "it": {"image": "acme/store", "volumes": [bind(f"{FOLDER}/state")]}}
    for shared, treatment in (((), "replaced"), (("state",), "left"), (("state/deep",), "left")):
        found = treat(composition(**services), Choices(), shared=shared)
        assert told(found)["it"][0] == treatment


def declared(service: dict[str, Any], *places: str, **choices: Any) -> Treatment:
    config = {"services": {"web": WEB, "it": service}, "volumes": {"data": {}, "more": {}}}
    return treat(read(config, folder=FOLDER, declared={"it": places}), Choices(**choices))


def test_volumes_that_an_image_has_of_its_own() -> None:
    found = declared({"image": "acme/store"}, "/state")
    assert told(found)["it"] == (
        "left",
        "it keeps data in /state, a volume without a name: started once, then left alone",
    )
    assert found.data == ("it",)
    tmpfs = {"image": "acme/store", "tmpfs": ["/state:size=1m"]}
    assert told(declared(tmpfs, "/state/"))["it"][0] == "replaced"
    assert (
        told(declared({"image": "x", "volumes": [volume("data", "/state", read_only=True)]}, "/state"))["it"][0]
        == "replaced"
    )
    above = {"image": "x", "volumes": [volume("data", "/state", read_only=True)]}
    assert told(declared(above, "/state/deep"))["it"][0] == "left", "Docker makes a volume of its own in there"
    built = declared({"build": {"context": FOLDER}}, "/state")
    assert told(built)["it"] == (
        "recreated",
        "it keeps data in /state, a volume without a name, and two at once might spoil or lose it",
    )
    shared = {"build": {"context": FOLDER}, "volumes": [volume("data", "/state")]}
    config = {"services": {"web": WEB, "it": shared, "other": shared}, "volumes": {"data": {}}}
    found = treat(read(config, folder=FOLDER, declared={"it": ["/state"]}), Choices())
    assert told(found)["it"][0] == "replaced"


def test_what_is_accepted_is_warned_of() -> None:
    found = declared({"image": "acme/store", "restart": "always"}, "/state", replace=("it",))
    assert found.accepted == ("it",)
    assert found.warnings == (
        "Each release of the service it begins with an empty /state: a volume without a name. To keep what is in it, "
        "give it a name in the Compose file.",
    )
    own = {**WEB, "volumes": [volume("data")], "labels": {"devflow.replace": "TRUE"}}
    found = treated({"web": own})
    assert (found.problem, found.accepted) == ("", ("web",))
    assert found.warnings == (
        "Two of the service web run side by side for a while, as was chosen, although it alone writes the volume data.",
    )


@pytest.mark.parametrize(
    ("minutes", "told_so"),
    [(None, "for a while"), (30, "until 30 minutes after the switch"), (0, "until the old is drained")],
)
def test_how_long_two_run_on_which_data_is_told(minutes: int | None, told_so: str) -> None:
    own = {**WEB, "volumes": [volume("data"), volume("up", "/up"), bind("/srv/files")]}
    found = treat(composition(web=own), Choices(replace=("web",)), standby_minutes=minutes)
    assert found.warnings == (
        f"Two of the service web run side by side {told_so}, as was chosen, although it alone writes the volume data. "
        "Both write the volume data, the volume up and the folder /srv/files.",
    )


def test_several_that_are_accepted_are_each_warned_of() -> None:
    more = {"build": {"context": FOLDER}, "volumes": [volume("old"), volume("more", "/m")], "restart": "always"}
    cache = {"image": "cache", "volumes": [{"type": "volume", "target": "/d"}], "restart": "always"}
    found = treated({"web": WEB, "a": cache, "b": more}, replace=("a", "b"))
    first, second = found.warnings
    assert "begins with an empty /d" in first
    assert second.endswith("Both write the volume old and the volume more.")


def test_two_of_a_store_never_run_on_the_same_data() -> None:
    more = {**DB, "volumes": [volume("data"), volume("up", "/wal")]}
    problem = treated({"web": WEB, "db": more}, replace=("db",)).problem
    assert problem == (
        "Two of the service db cannot run side by side: both would write the volume data and the volume up, and two of "
        "postgres:16 on the same data spoil it. Take db out of the option replace: it is then left alone, and "
        "recreated where it has changed."
    )
    labelled = {**DB, "labels": {"devflow.replace": "true"}}
    assert 'Take the label devflow.replace: "true" out of' in treated({"web": WEB, "db": labelled}).problem
    assert treated({"web": WEB, "db": labelled}, recreate=("db",)).problem == ""
    in_place = treat(composition(web=WEB, db=DB), Choices(replace=("db",)), in_place=True, has_proxy=False)
    assert in_place.problem == "", "there is one of it only"
    read_only = {**DB, "volumes": [volume("data", read_only=True)]}
    assert treated({"web": WEB, "db": read_only}, replace=("db",)).problem == ""


def test_what_the_file_has_no_more_is_told() -> None:
    job = {"image": "job", "volumes": [volume("up")]}
    before = {"web": WEB, "db": DB, "job": job, "mail": {"image": "mail"}}
    found = treated({"web": {**WEB, "volumes": [volume("up"), volume("more")]}}, before, replace=("web",))
    assert told(found) | {"web": ("", "")} == {
        "web": ("", ""),
        "db": ("removed", "no longer in the file or in a profile that is on; its volumes stay"),
        "job": ("removed", "no longer in the file or in a profile that is on"),  # web has its volume
        "mail": ("removed", "no longer in the file or in a profile that is on"),
    }
    (warning,) = [each for each in found.warnings if "no more" in each or "any more" in each]
    assert warning == (
        "The service db keeps data (the volume data) and is not in the Compose file any more: it is stopped and "
        "removed after the switch, though the release on standby may need it. Its data stays on the server, and a "
        "rollback starts it again."
    )
    assert "db" not in " ".join(lists(found).values())
    kept = composition(before, web=WEB)
    assert Composition.from_json(json.loads(json.dumps(kept.to_json()))) == kept
    older = {key: value for key, value in kept.to_json().items() if key != "removed"}
    assert Composition.from_json(older).removed == ()


def test_data_of_what_is_removed_that_has_no_name() -> None:
    unnamed = {"image": "redis:7", "volumes": [{"type": "volume", "target": "/data"}]}
    found = treat(composition({"cache": unnamed}, web=WEB), Choices(), in_place=True)
    assert found.warnings == (
        "The service cache keeps data (/data, a volume without a name) and is not in the Compose file any more: it is "
        "stopped and removed. Its data stays on the server, and a rollback starts it again. With a volume without a "
        "name it then begins with an empty one.",
    )


def test_a_label_says_otherwise() -> None:
    def labelled(value: str) -> dict[str, Any]:
        return {**WEB, "labels": {"devflow.replace": value}}

    assert "cannot be replaced without downtime: its label" in treated({"web": labelled("false")}).problem
    assert 'is neither "true" nor "false"' in treated({"web": labelled("perhaps")}).problem
    found = treated({"web": WEB, "db": {**DB, "labels": {"devflow.replace": "true"}}}, leave=("db",))
    assert told(found)["db"] == ("left", "chosen in the settings")
    mail = {"image": "mail", "labels": {"devflow.replace": "false"}}
    assert told(treated({"web": WEB, "mail": mail}, {"mail": mail}))["mail"][0] == "left"
    in_place = treat(composition(web=labelled("true")), Choices(), in_place=True, has_proxy=False)
    assert told(in_place)["web"][0] == "recreated"


def test_where_a_swarm_may_move_it() -> None:
    def pinned(**deploy: Any) -> bool:
        return composition(web={**WEB, "deploy": deploy}).services[0].is_pinned

    assert not pinned()
    assert not pinned(placement={"constraints": ["node.role == manager", "node.hostname != a"]})
    assert pinned(mode="global")
    for constraint in ("node.hostname == a", "node.id==a", "node.labels.disk == ssd", "engine.labels.x == y"):
        assert pinned(placement={"constraints": ["node.role == worker", constraint]})


def test_what_cannot_run_twice_is_left_while_it_is_unchanged() -> None:
    mail = {"image": "mail", "ports": [port(25, "25")]}
    assert told(treated({"web": WEB, "mail": mail}, {"mail": mail}))["mail"] == (
        "left",
        "unchanged; a change would recreate it: it publishes port 25 of the server, which one container only can have",
    )
    built = {**mail, "build": {"context": FOLDER}}
    assert told(treated({"web": WEB, "mail": built}, {"mail": built}))["mail"][0] == "recreated"


def test_what_a_recreated_service_waits_for_is_recreated_too() -> None:
    services = {
        "web": WEB,
        "edge": {"image": "x", "container_name": "edge", "depends_on": {"api": {"condition": "service_started"}}},
        "api": {"image": "y", "depends_on": {"cache": {"condition": "service_started"}}},
        "cache": {"image": "z"},
    }
    found = told(treated(services))
    assert found["api"] == ("recreated", "edge is not replaced and reaches it by its name (depends_on)")
    assert found["cache"][0] == "recreated"
    assert found["web"][0] == "replaced"


def test_what_replaced_services_wait_for_comes_first() -> None:
    services = {
        "web": {**WEB, "depends_on": {"migrate": {"condition": "service_completed_successfully"}, "queue": {}}},
        "migrate": {"build": {"context": FOLDER}},
        "queue": {"image": "x", "container_name": "queue"},
        "clock": {"image": "x", "container_name": "clock", "restart": "always"},
    }
    found = treated(services)
    assert found.early == ("queue",)
    assert found.once == ("migrate",)
    assert "runs to its end" in told(found)["migrate"][1]
    assert found.warnings == (
        "These services do not come back after a reboot: queue. Give them restart: unless-stopped.",
    )


def test_choices_come_first() -> None:
    services = {"web": WEB, "db": DB, "a": {"image": "x", "container_name": "a"}, "b": {"image": "x"}}
    found = told(treated(services, replace=("a",), recreate=("b",), leave=("db",)))
    assert {name: how for name, (how, _) in found.items()} == {
        "web": "replaced",
        "db": "left",
        "a": "replaced",
        "b": "recreated",
    }
    assert found["a"][1] == "chosen in the settings"


def test_in_place_nothing_is_replaced() -> None:
    found = treat(composition(web=WEB, db=DB), Choices(replace=("web",)), in_place=True, has_proxy=False)
    assert told(found)["web"] == ("recreated", "the strategy recreates in place")
    assert told(found)["db"][0] == "left"
    assert (found.problem, found.proxied) == ("", "")
    assert lists(found)["replaced"] == ""


@pytest.mark.parametrize(
    ("services", "choices", "problem"),
    [
        ({"web": {**WEB, "container_name": "shop"}}, {}, "cannot be replaced without downtime: container_name: shop"),
        ({"web": {**WEB, "network_mode": "host"}}, {}, "network_mode: host"),
        ({"web": {**WEB, "volumes": [volume("up")]}}, {}, "it alone writes the volume up"),
        (
            {"a": WEB, "b": WEB},
            {},
            "Say which service is behind the proxy (option service): the Compose file has a, b.",
        ),
        ({"a": {"image": "x"}}, {}, "none that publishes a port"),
        ({"a": WEB}, {"service": "z"}, "has no service z (option service). It has: a."),
        ({"a": WEB}, {"leave": ("z",)}, "has no service z (option leave). It has: a."),
        ({"a": {**WEB, "ports": [port(1, "1"), port(2, "2")]}}, {}, "(option container_port): it has 1, 2."),
        ({"web": WEB, "db": {**DB, "volumes": [bind(f"{FOLDER}/state")]}}, {}, "db keeps data in ./state"),
    ],
)
def test_what_cannot_be_deployed_is_told(services: dict[str, Any], choices: dict[str, Any], problem: str) -> None:
    assert problem in treated(services, **choices).problem


def test_the_service_behind_the_proxy() -> None:
    found = treated({"a": WEB, "b": {**WEB, "expose": ["9000"]}}, service="b", port="9000")
    assert (found.problem, found.proxied, found.port) == ("", "b", 9000)
    assert told(found)["a"][0] == "recreated"
    exposed = treated({"web": {"image": "x", "expose": ["3000"], "restart": "always"}, "db": DB})
    assert (exposed.proxied, exposed.port) == ("web", 3000)
    many = treated({"web": {**WEB, "deploy": {"replicas": 3}}})
    assert "runs once in each colour, not 3 times" in many.warnings[0]


@pytest.mark.parametrize(
    ("source", "shared", "top", "is_lost"),
    [
        (f"{FOLDER}/state", (), ("src",), True),
        (f"{FOLDER}/state", (), ("state",), False),
        (f"{FOLDER}/state", (), None, False),
        (f"{FOLDER}/state/x", ("state",), ("src",), False),
        ("/srv/state", (), ("src",), False),
        (f"{FOLDER}/state", ("state",), ("src",), False),
        (FOLDER, (), ("src",), False),
    ],
)
def test_a_folder_for_data_beside_the_files_of_the_commit(
    source: str, shared: tuple[str, ...], top: tuple[str, ...] | None, is_lost: bool
) -> None:
    found = treat(composition(web={**WEB, "volumes": [bind(source)]}), Choices(), shared=shared, top=top)
    assert ("would begin with an empty one" in found.problem) is is_lost
    # an application may write a shared folder of its own from two colours, a folder of the server only when it is told
    assert bool(found.problem) is (is_lost or source == "/srv/state")


def test_a_volume_on_a_file_server_is_not_local() -> None:
    config = {"volumes": {"a": {"driver": "local", "driver_opts": {"type": "nfs"}}, "b": {"driver": "x"}, "c": None}}
    config["volumes"]["c"] = {}
    assert [each.is_local for each in read(config, folder=FOLDER).volumes] == [False, False, True]


def test_volumes() -> None:
    assert composition(web=WEB).volumes == (
        Volume("data", "base_data"),
        Volume("old", "old", is_external=True),
        Volume("up", "base_up", "nfs"),
    )
