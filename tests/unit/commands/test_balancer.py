"""Balancers: the whole files, and what is decided before a server is taken out of the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devflow.commands import balancer, haproxy
from tests.support.machine import Machine, Ran

NODES = [("web1", "10.0.0.1:80"), ("web2", "10.0.0.2:8080"), ("web3", "10.0.0.3:80")]


def check(**given: Any) -> str:
    settings: dict[str, Any] = {
        "kind": "nginx",
        "environment_id": "e0e0e0e0",
        "nodes": NODES,
        "minimum": 2,
        "drain_seconds": 1,
        "path": "/up",
        "port": 80,
        "domains": ("shop.example.com",),
        "backend": "",
        "socket": "/run/haproxy/admin.sock",
    }
    return balancer.check(**{**settings, **given})


def test_the_file_of_nginx() -> None:
    text = balancer.nginx_file(
        environment_id="e1", nodes=NODES[:2], port=8000, domains=("a.test", "b.test"), upload_mb=80
    )
    assert (
        text
        == """\
upstream devflow_e1_nodes {
    server 10.0.0.1:80; # web1
    server 10.0.0.2:8080; # web2
    keepalive 32;
}
map $http_upgrade $devflow_e1_ws { default upgrade; '' ''; }
server {
    listen 8000;
    server_name a.test b.test;
    client_max_body_size 80m;
    location / {
        proxy_pass http://devflow_e1_nodes;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $devflow_e1_ws;
        proxy_connect_timeout 5s;
        proxy_send_timeout 300s;
        proxy_read_timeout 300s;
    }
}
"""
    )


def test_the_part_of_haproxy() -> None:
    text = haproxy.part(environment_id="e1", nodes=NODES[:2], port=80, path="/up", host="")
    assert (
        text
        == """\
frontend devflow_e1
    mode http
    bind :80
    timeout client 1m
    default_backend devflow_e1
backend devflow_e1
    mode http
    balance roundrobin
    option forwardfor
    option redispatch
    retries 2
    timeout connect 5s
    timeout server 1m
    timeout tunnel 1h
    option httpchk
    http-check send meth GET uri /up ver HTTP/1.1 hdr Host localhost
    http-check expect status 200-399
    server web1 10.0.0.1:80 check inter 1s fall 2 rise 1 weight 100
    server web2 10.0.0.2:8080 check inter 1s fall 2 rise 1 weight 100
"""
    )


class Balancing:
    """The functions with nodes of which a file each tells whether they are ready, or out of the way."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.nodes = machine.folder / "nodes"
        self.nodes.mkdir()
        for name, _ in NODES:
            self.put(name, "ready")

    def put(self, name: str, state: str) -> None:
        (self.nodes / name).write_text(f"{state}\n")

    def state(self) -> dict[str, str]:
        return {path.name: path.read_text().strip() for path in sorted(self.nodes.iterdir())}

    def run(self, action: str, *, apart: str = "", minimum: int = 2) -> Ran:
        stand_ins = f"""
ready_seconds=1 minimum={minimum} apart='{apart}'
mkdir -p "$root/.devflow"
is_ready() {{ [ "$(cat "{self.nodes}/$1")" = ready ]; }}
is_given() {{ [ "$(cat "{self.nodes}/$1")" != out ]; }}
answers() {{ [ "$(cat "{self.nodes}/$1")" != down ]; }}
answered() {{ echo 502; }}
shown() {{ echo "$1 is $(cat "{self.nodes}/$1")"; }}
take_out() {{ for name in "$@"; do [ "$(cat "{self.nodes}/$name")" = down ] || echo out >"{self.nodes}/$name"; done; }}
put_in() {{ for name in "$@"; do [ "$(cat "{self.nodes}/$name")" = down ] || echo ready >"{self.nodes}/$name"; done; }}
"""
        common = check().split("<<'devflow-functions'\n", 1)[1].split("devflow-functions\n", 1)[0]
        return self._machine.run(f"{common}{stand_ins}{action}\n")


@pytest.fixture
def balancing(machine: Machine) -> Balancing:
    return Balancing(machine)


def test_out_and_in_again(balancing: Balancing) -> None:
    assert balancing.run("drain web1").lines == ["2 of 3 ready servers go on without web1"]
    assert balancing.state() == {"web1": "out", "web2": "ready", "web3": "ready"}
    assert balancing.run("give web1").lines == ["ready: web1"]
    assert balancing.state() == {"web1": "ready", "web2": "ready", "web3": "ready"}


def test_never_fewer_than_the_set_number(balancing: Balancing) -> None:
    balancing.put("web3", "down")
    ran = balancing.run("drain web1")
    assert ran.code == 1
    assert ran.explained == (
        "Without web1, only 1 of at least 2 servers would be ready: web3 is down. Mend that, or set a lower minimum."
    )
    assert balancing.state()["web1"] == "ready"


def test_one_that_is_not_ready_anyway_may_always_go(balancing: Balancing) -> None:
    balancing.put("web1", "down")
    balancing.put("web2", "down")
    assert balancing.run("drain web1").code == 0


def test_one_that_does_not_answer_is_not_given_requests(balancing: Balancing) -> None:
    balancing.run("drain web1")
    balancing.put("web1", "down")
    ran = balancing.run("give web1")
    assert "web1 does not answer the balancer: http://10.0.0.1:80/up gave 502" in ran.explained
    assert "It gets no requests." in ran.explained


def test_the_way_back_touches_only_what_was_taken_out(balancing: Balancing) -> None:
    balancing.run("drain web1\ngive web1")
    assert balancing.run("drain_again web1 web2").lines == ["2 of 3 ready servers go on without web1"]
    assert balancing.state()["web2"] == "ready"
    assert balancing.run("give_again web1 web2").code == 0
    assert balancing.state() == {"web1": "ready", "web2": "ready", "web3": "ready"}


def test_one_that_could_not_be_taken_back_stays_out(balancing: Balancing) -> None:
    balancing.run("drain web1")
    ran = balancing.run("give_again web1", apart="web1 web9")
    assert ran.lines == ["web1 could not be taken back: it gets no requests"]
    assert balancing.state()["web1"] == "out"


def test_one_that_was_not_ready_before_is_not_waited_for_on_the_way_back(balancing: Balancing) -> None:
    balancing.put("web1", "down")
    balancing.run("drain web1")
    assert balancing.run("give_again web1").code == 0


def test_one_that_got_no_requests_before_gets_none_after_the_way_back(balancing: Balancing) -> None:
    balancing.put("web1", "out")
    balancing.run("drain web1\ngive web1\ndrain_again web1")
    ran = balancing.run("give_again web1")
    assert (ran.code, ran.lines) == (0, ["web1 got no requests before: it gets none"])
    assert balancing.state()["web1"] == "out"


class Nginx:
    """The functions of nginx over a list of servers in a folder of its own; nginx itself takes every list."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.folder = machine.folder / "nginx"
        self.folder.mkdir()
        (machine.root / ".devflow").mkdir()
        machine.tool("curl", "echo 200")

    def run(self, action: str, *names: str, fresh: tuple[str, ...] = (), at: str = "10.0.0") -> Ran:
        nodes = [(name, f"{at}.{name[-1]}:80") for name in names]
        text = check(nodes=nodes, fresh=fresh, minimum=1).split("<<'devflow-functions'\n", 1)[1]
        stand_ins = f"""
nginx_folder={self.folder} nginx_site={self.folder}/$environment-nodes.conf
test_nginx() {{ :; }}
reload_nginx() {{ :; }}
leaving_workers() {{ :; }}
"""
        return self._machine.run(f"{text.split('devflow-functions', 1)[0]}{stand_ins}{action}\n")

    def servers(self) -> list[str]:
        (file,) = self.folder.glob("*-nodes.conf")
        lines = (line.strip().removeprefix("server ") for line in file.read_text().splitlines() if "; # " in line)
        return [line.split("; # ")[0] for line in lines]


@pytest.fixture
def listed(machine: Machine) -> Nginx:
    return Nginx(machine)


def test_nginx_gives_all_servers_of_a_first_deployment_requests(listed: Nginx) -> None:
    assert listed.run("write_balancer", "web1", "web3").code == 0
    assert listed.servers() == ["10.0.0.1:80", "10.0.0.3:80"]


def test_nginx_gives_an_added_server_requests_when_it_is_ready(listed: Nginx) -> None:
    listed.run("write_balancer", "web1", "web3")
    names = ("web1", "web2", "web3")
    assert listed.run("write_balancer", *names, fresh=("web2",)).code == 0
    assert listed.servers() == ["10.0.0.1:80", "10.0.0.2:80 down", "10.0.0.3:80"]
    ran = listed.run("drain web2", *names, fresh=("web2",))
    assert ran.lines == ["2 of 2 ready servers go on without web2"]
    assert listed.run("give web2\nwrite_balancer", *names, fresh=("web2",)).code == 0
    assert listed.servers() == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    listed.run("drain_again web2\ngive_again web2", *names, fresh=("web2",))
    assert listed.servers() == ["10.0.0.1:80", "10.0.0.2:80 down", "10.0.0.3:80"], "it has no release again"


def test_nginx_knows_another_server_of_the_same_name_by_its_address(listed: Nginx) -> None:
    listed.run("write_balancer", "web1", "web2")
    listed.run("write_balancer", "web1", "web2", fresh=("web2",), at="10.0.9")
    assert listed.servers() == ["10.0.9.1:80", "10.0.9.2:80 down"]


def test_nginx_goes_on_with_the_servers_of_before_where_all_are_others(listed: Nginx) -> None:
    listed.run("write_balancer", "web1", "web2")
    others = ("web3", "web4")
    listed.run("write_balancer\ndrain web3", *others, fresh=others)
    assert listed.servers() == ["10.0.0.1:80", "10.0.0.2:80"]
    listed.run("give web3", *others, fresh=others)
    assert listed.servers() == ["10.0.0.3:80", "10.0.0.4:80 down"]


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_functions_are_kept_for_later_steps(machine: Machine, kind: str, tmp_path: Path) -> None:
    machine.tool("curl", "exit 0")
    (machine.root / ".devflow").mkdir()
    text = check(kind=kind).replace("\ncheck_balancer\n", "\n:\n")
    ran = machine.run(text, f'. "{machine.root}/.devflow/balancer.d2"\naddress_of web2\n', balancer.FORGET)
    assert ran.lines == ["10.0.0.2:8080"]
    assert not (machine.root / ".devflow" / "balancer.d2").exists()
