"""rolling: how the servers are cut into batches, where the balancer reaches them, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devflow.engine.plan import Site, Target
from devflow.engine.task import Phase, Where
from devflow.recipes.dockerfile import RECIPE as DOCKERFILE
from devflow.strategies import atomic, recreate, rolling
from tests.support.plans import RECIPE, site_on

BALANCER = Target("idlb", "lb", "10.0.0.9")
NAMES = ("web1", "web2", "web3", "web4", "web5")


def site(*servers: str, **options: str) -> Site:
    made = site_on(*servers, balancer=BALANCER, strategy_options=options)
    targets = tuple(Target(target.id, target.name, f"10.0.0.{n}") for n, target in enumerate(made.targets, 1))
    domains = ("shop.example.com",)
    return site_on(*servers, balancer=BALANCER, strategy_options=options, targets=targets, domains=domains)


@pytest.mark.parametrize(
    ("batch", "sizes"), [("1", [1] * 5), ("2", [2, 2, 1]), ("40%", [2, 2, 1]), ("10%", [1] * 5), ("99", [5])]
)
def test_batches(batch: str, sizes: list[int]) -> None:
    rounds = rolling.rounds(site(*NAMES, batch=batch, minimum="1"), RECIPE)
    assert [len(each.servers) for each in rounds] == sizes
    assert [name for each in rounds for name in each.servers] == [*NAMES]


def test_servers_that_do_not_serve_yet_go_live_first() -> None:
    given = replace(site(*NAMES, batch="2"), joining=("web3", "web5"))
    rounds = rolling.rounds(given, RECIPE)
    assert [each.servers for each in rounds] == [("web3", "web5"), ("web1", "web2"), ("web4",)]
    (check,) = (task for task in rolling.deploy(given, RECIPE) if task.name == "check balancer")
    assert "\nfresh='web3 web5'\n" in check.command
    assert "\nall='web1 web2 web3 web4 web5'\n" in check.command


def test_the_balancer_takes_what_the_servers_take() -> None:
    given = replace(site("web1", "web2"), upload_mb=70)
    (check,) = (task for task in rolling.deploy(given, RECIPE) if task.name == "check balancer")
    assert "client_max_body_size 70m;" in check.command


@pytest.mark.parametrize(
    ("options", "minimum"),
    [
        ({}, "minimum=4"),
        ({"batch": "2"}, "minimum=3"),
        ({"minimum": "2"}, "minimum=2"),
        ({"minimum": "50%"}, "minimum=3"),
    ],
)
def test_so_many_stay_ready(options: dict[str, str], minimum: str) -> None:
    (check,) = (task for task in rolling.deploy(site(*NAMES, **options), RECIPE) if task.name == "check balancer")
    assert f"\n{minimum}\n" in check.command


def test_addresses() -> None:
    given = site("web1", "web2", "web3", nodes="web2=app.internal:8080 web3=[fd00::3]")
    (check,) = (task for task in rolling.deploy(given, RECIPE) if task.name == "check balancer")
    assert "\nnodes='web1 10.0.0.1:80\nweb2 app.internal:8080\nweb3 [fd00::3]:80'\n" in check.command


@pytest.mark.parametrize(
    ("servers", "options", "problem"),
    [
        (NAMES, {}, ""),
        (("web1",), {}, "at least two servers"),
        (("web1", "web2"), {"minimum": "2"}, "2 cannot stay ready"),
        (NAMES, {"warm_seconds": "30"}, "nginx cannot give a server more requests little by little"),
        (NAMES, {"warm_seconds": "30", "balancer": "haproxy"}, ""),
        (("web1", "web2"), {"batch": "2", "minimum": "1"}, "With 2 of 2 servers at once, 1 cannot stay ready"),
        (("web1", "web2"), {"nodes": "web9=10.0.0.1"}, "does not have: web9"),
    ],
)
def test_what_is_refused(servers: tuple[str, ...], options: dict[str, str], problem: str) -> None:
    said = rolling.problem(site(*servers, **options), RECIPE)
    assert problem in said
    assert bool(said) == bool(problem)


def test_nginx_needs_a_domain() -> None:
    given = replace(site("web1", "web2"), domains=())
    assert "give the environment one" in rolling.problem(given, RECIPE)
    haproxy = replace(site("web1", "web2", balancer="haproxy"), domains=())
    assert rolling.problem(haproxy, RECIPE) == ""


def test_it_needs_a_balancer() -> None:
    assert "needs a balancer" in rolling.problem(site_on("web1", "web2"), RECIPE)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("batch", ["1", "25%", "100"], ["0", "1.5", "%", "-1"]),
        ("nodes", ["", "web1=10.0.0.1:80 web2=[::1]:8080", "web1=app"], ["web1", "web1=a b", "web1=a;b", "web1='x'"]),
        ("check_path", ["/", "/up?x=1"], ["up", "/a b", "/$(id)", "/'"]),
        ("backend", ["", "web.servers"], ["a b", "a;b"]),
        ("socket", ["/run/haproxy/admin.sock"], ["admin.sock", "/a b"]),
    ],
)
def test_values_of_options(name: str, good: list[str], bad: list[str]) -> None:
    (option,) = (option for option in rolling.OPTIONS if option.name == name)
    assert [value for value in good if option.problem(value)] == []
    assert [value for value in bad if not option.problem(value)] == []


def test_a_server_that_only_balances_cleans_up_in_the_same_step() -> None:
    tasks = rolling.deploy(site("web1", "web2"), RECIPE)
    last = [task for task in tasks if task.phase in (Phase.FINISH, Phase.UNDO) and task.name != "take back"]
    assert {task.where for task in last} == {Where.EVERY}
    assert all('case $root in "$devflow"/sites/*)' in task.command for task in last)


def test_containers_take_each_others_place_behind_the_nginx_of_their_server() -> None:
    given = replace(site("web1", "web2"), proxy="nginx", port=21000)
    assert rolling.problem(given, DOCKERFILE) == ""
    assert "choose nginx as proxy" in rolling.problem(replace(given, proxy=""), DOCKERFILE)
    own = ("check balancer", "write balancer")
    for made, alone in ((rolling.deploy, recreate.deploy), (rolling.rollback, recreate.rollback)):
        names = [task.name for task in made(given, DOCKERFILE) if task.name not in own]
        assert names == [task.name for task in alone(given, DOCKERFILE)]


def test_a_rollback_goes_in_batches_too() -> None:
    given = site("web1", "web2")
    names = [task.name for task in rolling.rollback(given, RECIPE)]
    assert names[:4] == ["lock", "check balancer", "write balancer", "check release"]
    assert [name for name in names if name not in ("check balancer", "write balancer")] == [
        task.name for task in atomic.rollback(given, RECIPE)
    ]
