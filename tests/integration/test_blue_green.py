"""blue-green for applications that are processes: under load behind nginx, with all that may go wrong on the way."""

from __future__ import annotations

import http.client
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments import proxy
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from tests.support import container_app
from tests.support.colour_load import Load, OpenSocket
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.vps import Vps

APP = Path(__file__).parent / "apps" / "two-colours"
ROLLBACK_SECONDS = 2
"""From the request to its end."""
CONTAINER_ROLLBACK_SECONDS = 4
"""As long as it may take on a machine that does other things, too; 2 s are wanted."""
KILL_RUN = (
    'for pid in $(grep -slz "^DEVFLOW_RUN={run}" /proc/[0-9]*/environ | cut -d/ -f3); '
    "do kill -9 $pid 2>/dev/null || :; done"
)
PYTHON_APP = """
import http.server, os

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = ("version " + open("version.txt").read().strip()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
# The test server has no logind, which gives a user's manager its folder otherwise.
USER_MANAGER = "[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/1000\n"
QUICK = {"watch_seconds": "1", "drain_seconds": "3", "start_seconds": "20"}


@dataclass
class Shop:
    """The sample application, one environment of it, and the server that it is on."""

    deployer: Deployer
    vps: Vps
    repository: GitRepository
    environment: Environment
    domain: str
    root: str
    versions: dict[str, Deployment] = field(default_factory=dict)

    def commit(self, version: str, mode: str = "well") -> None:
        self.repository.commit({"version.txt": version, "mode.txt": mode})

    def deploy(self, version: str, mode: str = "well", *, status: str = "success", error: str = "") -> Deployment:
        self.commit(version, mode)
        ended = self.deployer.deploy(self.environment, timeout_seconds=120)
        shown = self.deployer.describe(ended)
        assert ended.status == status, shown
        assert error in ended.error, shown
        self.versions[version] = ended
        return ended

    def roll_back(self, version: str) -> Deployment:
        rolled = self.deployer.wait_ended(self.deployer.roll_back(self.environment, to=self.versions[version]))
        assert rolled.status == "success", self.deployer.describe(rolled)
        return rolled

    def load(self, **given: Any) -> Load:
        return Load(self.vps.http_port, self.domain, **given)

    def page(self, path: str = "/") -> str:
        answer = ask(self.vps, self.domain, path)
        return answer[1] if answer[0] == 200 else str(answer[0])

    def read(self, name: str) -> str:
        return self.vps.run(f"cat {self.root}/.devflow/{name} 2>/dev/null || :", user="root").stdout.strip()

    @property
    def live(self) -> tuple[str, str]:
        colour, release = self.read("live").split()
        return colour, release

    def unit(self, colour: str) -> str:
        return f"devflow-{self.environment.pk.hex}-{colour}.service"

    def units(self) -> dict[str, tuple[str, str]]:
        """Of each colour: whether it runs, and whether it comes up after a reboot."""
        found = {}
        for colour in ("blue", "green"):
            unit = self.unit(colour)
            done = self.vps.run(
                f"systemctl is-active {unit}; systemctl is-enabled {unit} 2>/dev/null || :", user="root", check=False
            )
            words = done.stdout.split()
            found[colour] = (words[0], words[1] if len(words) > 1 else "")
        return found

    def look(self) -> dict[str, Any]:
        """What the panel finds of the site file on the server."""
        before = self.environment.proxy_state.get("at")
        proxy.proxy_look_request(actor=self.deployer.actor, environment=self.environment)

        def found() -> dict[str, Any] | None:
            with scopes_disabled():
                self.environment = Environment.objects.select_related("project").get(pk=self.environment.pk)
            state = self.environment.proxy_state
            return state["servers"][self.vps.name] if state.get("at") != before else None

        return wait_until(found, 20, what=self.deployer.output)

    def litter(self) -> str:
        """What a deployment that has ended must not leave."""
        names = "lock traffic.* nginx.* before.* *.next* retire.*"
        return self.vps.run(f"cd {self.root}/.devflow; ls -d {names} 2>/dev/null || :", user="root").stdout.strip()

    @property
    def upstream_file(self) -> str:
        return self.site_file.replace(".conf", ".upstream")

    @property
    def site_file(self) -> str:
        return f"/etc/nginx/devflow.d/{self.environment.pk.hex}.conf"


class ContainerShop(Shop):
    """The same of an application in a container."""

    def commit(self, version: str, mode: str = "well") -> None:
        server = container_app.server(f"version {version}", starts_after=3 if mode == "slow start" else 0)
        self.repository.commit({"Dockerfile": container_app.DOCKERFILE, "server.py": server, "version.txt": version})

    def units(self) -> dict[str, tuple[str, str]]:
        """Of each colour that there is: whether it runs, and whether it comes up after a reboot."""
        form = '{{index .Config.Labels "devflow.colour"}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}'
        of_this = f"docker ps -aq --filter label=devflow.environment={self.environment.pk.hex}"
        found = self.vps.run(f"{of_this} | xargs -r docker inspect --format '{form}'", user="root").stdout
        return {colour: (state, policy) for colour, state, policy in map(str.split, found.splitlines())}


def stop_master(shop: Shop) -> None:
    """nginx goes on serving, and does not hear that it is to reload: a switch lasts for 10 s now."""
    shop.vps.run("kill -STOP $(cat /run/nginx.pid)", user="root")


def wait_in_switch(shop: Shop, requested: Deployment) -> None:
    """Returns when nginx is told to send the traffic to the new colour, and has not heard it (see `stop_master`)."""
    before = shop.vps.run(f"cat {shop.upstream_file}", user="root").stdout
    shop.deployer.wait_for_step(requested, "switch", 90)
    release = shop.deployer.read(requested).release
    current = f"readlink {shop.root}/current; cat {shop.upstream_file}"

    def is_told() -> bool:
        link, _, upstream = shop.vps.run(current, user="root").stdout.partition("\n")
        return link.endswith(release) and upstream != before

    wait_until(is_told, 10, what=shop.deployer.output)


def wait_for_page(shop: Shop, text: str, seconds: float = 40) -> None:
    """Until the site answers so, after a reboot: at first nobody may."""

    def is_so() -> bool:
        try:
            return shop.page() == text
        except OSError:
            return False

    wait_until(is_so, seconds, what=shop.deployer.output)


def ask(vps: Vps, domain: str, path: str = "/", timeout_seconds: float = 10) -> tuple[int, str]:
    connection = http.client.HTTPConnection(vps.host, vps.http_port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Host": domain})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(docker_engine: Any, vps_image: str) -> Iterator[Vps]:
    """With systemd; its user is root."""
    with Vps(docker_engine, vps_image, systemd=True, user="root") as made:
        yield made


@pytest.fixture
def docker_server(docker_engine: Any, docker_image: str) -> Iterator[Vps]:
    """One that runs containers; its user is root."""
    with Vps(docker_engine, docker_image, systemd=True, docker=True, user="root") as made:
        made.base_image()
        made.run("systemctl enable nginx")
        yield made


@pytest.fixture
def make_shop(deployer: Deployer, worker: WorkerProcess, tmp_path: Path) -> Callable[..., Shop]:
    def make(vps: Vps, **given: Any) -> Shop:
        with scopes_disabled():
            server = Server.objects.filter(name=vps.name).first()
        server = server or deployer.add_server(vps)
        name = f"shop-{secrets.token_hex(3)}"
        home = "/root" if vps.user == "root" else f"/home/{vps.user}"
        repository = GitRepository.on_server(vps, f"{home}/{name}.git", tmp_path / name)
        repository.commit_folder(APP)
        settings: dict[str, Any] = {
            "recipe_options": {"start_command": "node server.js"},
            "strategy": "blue-green",
            "strategy_options": QUICK,
            "proxy": "nginx",
            "domains": [f"{name}.test"],
            **given,
        }
        recipe = settings.pop("recipe", "node")
        if recipe == "dockerfile":
            settings["recipe_options"] = {}
        project = deployer.add_project(name, repository.path, recipe=recipe)
        root = f"/srv/www/{name}"
        environment = deployer.add_environment(project, "production", servers=[server.name], root=root, **settings)
        kind = ContainerShop if recipe == "dockerfile" else Shop
        return kind(deployer, vps, repository, environment, f"{name}.test", root)

    return make


@pytest.fixture
def shop(make_shop: Callable[..., Shop], server: Vps) -> Shop:
    return make_shop(server)


def test_deployments_under_load_lose_no_request(shop: Shop) -> None:
    shop.repository.commit({"package.json": '{"name": "two-colours", "private": true}'})  # npm runs, too
    shop.deploy("one")
    assert shop.page() == "version one"
    assert shop.page("/host") == shop.domain
    colours = [shop.live[0]]
    with shop.load(pause_seconds=0.02) as load:
        for version in ("two", "three", "four"):
            shop.deploy(version)
            switched = time.monotonic()
            colours.append(shop.live[0])
            time.sleep(0.3)
            before = [text for text, last in load.last.items() if last > switched and text != f"version {version}"]
            assert not before
    assert load.failed == []
    assert set(load.answers) == {f"version {version}" for version in ("one", "two", "three", "four")}
    assert colours == ["blue", "green", "blue", "green"]
    assert shop.units() == {"blue": ("active", "disabled"), "green": ("active", "enabled")}
    assert shop.read("standby") == f"blue {shop.versions['three'].release}"


@pytest.mark.alone
def test_back_to_standby_is_one_switch(shop: Shop) -> None:
    shop.deploy("one")
    shop.deploy("two")
    with shop.load() as load:
        time.sleep(0.3)
        began = time.monotonic()
        shop.roll_back("one")
        took = time.monotonic() - began
        time.sleep(0.3)
    assert took < ROLLBACK_SECONDS, took
    assert load.failed == []
    assert shop.page() == "version one"
    assert shop.live == ("blue", shop.versions["one"].release)
    assert shop.units()["blue"] == ("active", "enabled")
    shop.roll_back("two")
    assert shop.page() == "version two"
    refused = shop.vps.run(f"~/.devflow/bin/devflow-run rollback {shop.root}", check=False)
    assert refused.returncode == 1
    assert "only the panel switches" in refused.stderr


def test_back_to_standby_is_one_switch_after_a_change_of_the_port_too(shop: Shop) -> None:
    shop.deploy("one")
    shop.deploy("two")
    shop.environment.refresh_from_db()
    old = shop.environment.port
    assert old
    new = old + 2000
    shop.deployer.change(shop.environment, port=new)
    with shop.load() as load:
        rolled = shop.roll_back("one")
        assert "still runs on standby" in shop.deployer.log(rolled)
        assert f"127.0.0.1:{old};" in shop.vps.run(f"cat {shop.upstream_file}").stdout
        shop.deploy("three")
        assert f"127.0.0.1:{new + 1};" in shop.vps.run(f"cat {shop.upstream_file}").stdout
        shop.deploy("four", "dies at once", status="failed")
        assert "still runs on standby" not in shop.deployer.log(shop.roll_back("one"))
        assert f"127.0.0.1:{new};" in shop.vps.run(f"cat {shop.upstream_file}").stdout
        assert "still runs on standby" in shop.deployer.log(shop.roll_back("three"))
        time.sleep(0.3)
    assert load.failed == []
    assert shop.page() == "version three"
    assert f"green {shop.versions['three'].release} {new + 1}" in shop.read("ports").splitlines()


def test_after_its_time_a_timer_of_the_server_stops_the_standby(shop: Shop) -> None:
    shop.deploy("one")
    shop.deploy("two")
    timer = f"devflow-{shop.environment.pk.hex}-retire"
    assert shop.vps.run(f"systemctl is-active {timer}.timer").stdout.strip() == "active"
    assert shop.units()["blue"] == ("active", "disabled")
    shop.vps.run(f"systemctl start {timer}.service")  # as the timer does
    wait_until(lambda: shop.units()["blue"][0] == "inactive", 20)
    assert shop.page() == "version two"
    rolled = shop.roll_back("one")
    assert shop.page() == "version one"
    log = shop.deployer.log(rolled)
    assert "does not run on standby any more; it is started again, and checked like a new one" in log
    assert "answered 200, 3 times in a row" in log
    shop.vps.run(f"sh {shop.root}/.devflow/retire blue {shop.versions['one'].release}")
    assert shop.page() == "version one", "what is not on standby is left alone"


def test_back_to_an_older_release_starts_it(shop: Shop) -> None:
    for version in ("one", "two", "three"):
        shop.deploy(version)
    with shop.load() as load:
        shop.roll_back("one")
    assert load.failed == []
    assert shop.page() == "version one"
    assert shop.read("standby").split()[1] == shop.versions["three"].release


def test_a_slow_request_and_an_open_socket_outlive_the_switch(shop: Shop) -> None:
    shop.deploy("one")
    socket = OpenSocket(shop.vps.http_port, shop.domain)
    answers: list[tuple[int, str]] = []
    shop.commit("two")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "check colour")
    slow = threading.Thread(target=lambda: answers.append(ask(shop.vps, shop.domain, "/slow", 20)))
    slow.start()
    ended = shop.deployer.wait_ended(requested, 60)
    assert ended.status == "success", shop.deployer.describe(ended)
    assert shop.page() == "version two"
    assert socket.echo("still here") == "still here"
    slow.join(20)
    assert answers == [(200, "version one")]
    socket.close()


def test_without_standby_the_old_colour_ends_when_it_is_drained(make_shop: Callable[..., Shop], server: Vps) -> None:
    shop = make_shop(server, strategy_options={**QUICK, "standby_minutes": "0", "drain_seconds": "8"})
    shop.deploy("one")
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(ask(shop.vps, shop.domain, "/slow", 20)))
    shop.commit("two")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "check colour")
    slow.start()
    ended = shop.deployer.wait_ended(requested, 60)
    slow.join(20)
    assert ended.status == "success", shop.deployer.describe(ended)
    assert answers == [(200, "version one")]
    assert shop.units() == {"blue": ("inactive", "disabled"), "green": ("active", "enabled")}
    shop.roll_back("one")
    assert shop.page() == "version one"


@pytest.mark.parametrize(
    ("mode", "status", "error"),
    [
        ("ill", "failed", "answers 500"),
        ("well once", "failed", "does not stay healthy"),
        ("dies at once", "failed", "does not stay up"),
        ("dies", "rolled_back", "does not stay up"),
    ],
)
def test_a_release_that_does_not_run_never_keeps_the_traffic(
    make_shop: Callable[..., Shop], server: Vps, mode: str, status: str, error: str
) -> None:
    shop = make_shop(server, strategy_options={**QUICK, "start_seconds": "10", "watch_seconds": "8"})
    shop.deploy("one")
    before = shop.vps.run(f"cat {shop.site_file} {shop.upstream_file}").stdout
    with shop.load() as load:
        failed = shop.deploy("two", mode, status=status, error=error)
    assert load.failed == [] or mode == "dies", "it died with the traffic, until it was taken back"
    assert shop.page() == "version one"
    assert shop.vps.run(f"cat {shop.site_file} {shop.upstream_file}").stdout == before
    assert shop.live == ("blue", shop.versions["one"].release)
    assert shop.units() == {"blue": ("active", "enabled"), "green": ("inactive", "not-found")}
    assert failed.release not in shop.vps.run(f"ls {shop.root}/releases").stdout
    assert shop.litter() == ""
    shop.deploy("three")
    assert shop.page() == "version three"


def test_a_first_deployment_that_fails_leaves_nothing(shop: Shop) -> None:
    shop.deploy("one", "dies at once", status="failed")
    assert shop.vps.run(f"ls {shop.site_file} 2>/dev/null || echo none").stdout.strip() == "none"
    assert shop.read("live") == ""
    assert shop.litter() == ""
    shop.deploy("two", "slow start")
    assert shop.page() == "version two"


def test_who_has_taken_a_port_is_told(shop: Shop) -> None:
    shop.environment.refresh_from_db()
    port = shop.environment.port
    assert port
    shop.vps.run(f"systemd-run --quiet --unit=squat-{port} python3 -m http.server --bind 127.0.0.1 {port}")
    time.sleep(1)
    shop.deploy("one", status="failed", error=f"Port {port}")
    ended = shop.versions["one"]
    assert "taken by python3 (process " in ended.error
    shop.vps.run(f"systemctl stop squat-{port}")
    shop.deploy("two")


def test_a_site_file_edited_by_hand_is_shown_and_taken_over_or_replaced_on_purpose(shop: Shop) -> None:
    shop.deploy("one")
    shop.vps.run(f"sed -i 's/client_max_body_size 64m/client_max_body_size 65m/' {shop.site_file}")
    edited = shop.vps.run(f"cat {shop.site_file}").stdout
    shop.deploy("two", status="failed", error="was edited by hand")
    assert shop.vps.run(f"cat {shop.site_file}").stdout == edited
    assert shop.page() == "version one"

    actor = shop.deployer.actor
    assert shop.look()["state"] == "edited"
    proxy.proxy_adopt(actor=actor, environment=shop.environment, server=shop.vps.name)
    shop.deploy("three")
    assert shop.page() == "version three"
    assert shop.look()["state"] == "ours"
    assert "client_max_body_size 65m" in shop.vps.run(f"cat {shop.site_file}").stdout

    shop.vps.run(f"echo '# mine' >>{shop.site_file}")
    shop.deploy("four", status="failed", error="was edited by hand")
    assert "# mine" in shop.look()["text"]
    proxy.proxy_replace(actor=actor, environment=shop.environment)
    shop.deploy("five")
    assert shop.page() == "version five"
    assert "# mine" not in shop.look()["text"]


def test_a_site_file_that_was_taken_over_follows_the_domains(shop: Shop) -> None:
    shop.deploy("one")
    shop.vps.run(f"sed -i 's/client_max_body_size 64m/client_max_body_size 65m/' {shop.site_file}")
    assert shop.look()["state"] == "edited"
    proxy.proxy_adopt(actor=shop.deployer.actor, environment=shop.environment, server=shop.vps.name)
    shop.deploy("two")
    shop.deployer.change(shop.environment, domains=[f"neu-{shop.domain}"])
    shop.deploy("three")
    text = shop.vps.run(f"cat {shop.site_file}").stdout
    assert f"    server_name neu-{shop.domain};" in text.splitlines()
    assert "client_max_body_size 65m" in text
    assert ask(shop.vps, f"neu-{shop.domain}") == (200, "version three")


def test_a_configuration_broken_by_hand_fails_before_anything_is_touched(shop: Shop) -> None:
    shop.deploy("one")
    broken = "/etc/nginx/conf.d/broken.conf"
    shop.vps.run(f"echo 'serverr {{ }}' >{broken}")
    try:
        ended = shop.deploy("two", status="failed", error='unknown directive "serverr"')
        assert broken in ended.error
        assert shop.page() == "version one"
        assert shop.deployer.steps(ended)[1].name == "check nginx"
        assert shop.litter() == ""
    finally:
        shop.vps.run(f"rm {broken}")


def test_a_name_that_another_file_serves_is_refused_with_both_files(shop: Shop) -> None:
    other = f"/etc/nginx/sites-enabled/{shop.domain}"
    shop.vps.run(f"echo 'server {{ listen 80; server_name a.test {shop.domain}; return 204; }}' >{other}")
    try:
        ended = shop.deploy("one", status="failed", error=other)
        assert shop.site_file in ended.error
    finally:
        shop.vps.run(f"rm {other}")
    shop.deploy("two")


@pytest.mark.parametrize("how", ["systemctl stop nginx", "pkill -9 -x nginx"])
def test_nginx_that_was_killed_on_the_way_is_started_again(shop: Shop, how: str) -> None:
    shop.deploy("one")
    shop.commit("two")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "check colour")
    shop.vps.run(how)
    ended = shop.deployer.wait_ended(requested)
    assert ended.status == "success", shop.deployer.describe(ended)
    assert shop.page() == "version two"


@pytest.mark.parametrize("how", ["systemctl kill -s KILL nginx", "pkill -9 -x nginx"])
def test_nginx_that_is_killed_during_the_switch_is_started_again(shop: Shop, how: str) -> None:
    shop.deploy("one")
    shop.commit("two")
    stop_master(shop)
    requested = shop.deployer.request(shop.environment)
    try:
        wait_in_switch(shop, requested)
    finally:
        shop.vps.run(how)
    ended = shop.deployer.wait_ended(requested, 60)
    assert ended.status == "success", shop.deployer.describe(ended)
    assert "nginx does not run: it is started" in shop.deployer.log(ended)
    assert shop.page() == "version two"


def test_a_variable_port_does_not_change_where_a_colour_listens(shop: Shop) -> None:
    shop.deployer.set_variables(shop.environment, {"PORT": "3000", "GREETING": "it's 100% $HOME"})
    with_greeting = "version {} it's 100% $HOME"
    for version in ("one", "two"):
        shop.deploy(version)
        assert shop.page() == with_greeting.format(version)
    assert "The variable PORT is not used" in shop.deployer.log(shop.versions["two"])
    assert sorted(state for state, _ in shop.units().values()) == ["active", "active"]


def test_paths_are_warmed_up_before_the_release_serves(make_shop: Callable[..., Shop], server: Vps) -> None:
    shop = make_shop(server, strategy_options={**QUICK, "warm_paths": "/warm /two?all=*"})
    shop.deploy("one")
    asked = shop.page("/asked").split()
    assert asked[:5] == ["/", "/warm", "/two?all=*", "/", "/"]


def test_a_socket_and_a_slow_request_last_through_the_drain(make_shop: Callable[..., Shop], server: Vps) -> None:
    """Nothing stays on standby: the old release ends when its time to drain is over, and not before."""
    shop = make_shop(server, strategy_options={**QUICK, "standby_minutes": "0", "drain_seconds": "8"})
    shop.deploy("one")
    socket = OpenSocket(shop.vps.http_port, shop.domain)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(ask(shop.vps, shop.domain, "/slow", 20)))
    shop.commit("two")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "check colour")
    slow.start()
    shop.deployer.wait_for_step(requested, "retire")
    began = last = time.monotonic()
    assert shop.page() == "version two"
    while socket.echo("still here") == "still here":
        last = time.monotonic()
        time.sleep(0.1)
    socket.close()
    ended = shop.deployer.wait_ended(requested, 60)
    slow.join(20)
    shown = shop.deployer.describe(ended)
    assert ended.status == "success", shown
    assert answers == [(200, "version one")]
    assert 6 < last - began < 14, last - began
    assert "are cut: the 8 s are over" in shop.deployer.log(ended), shown
    assert shop.units() == {"blue": ("inactive", "disabled"), "green": ("active", "enabled")}


def test_taken_back_after_the_switch_it_is_drained_too(make_shop: Callable[..., Shop], server: Vps) -> None:
    shop = make_shop(server, strategy_options={**QUICK, "drain_seconds": "9"})
    shop.deploy("one")
    shop.deployer.change(shop.environment, phase_commands={"verify": ["sleep 3; exit 1"]})
    shop.commit("two")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "verify command 1")
    socket = OpenSocket(shop.vps.http_port, shop.domain)
    wait_until(lambda: shop.page() == "version one", 20, what=shop.deployer.output)
    began = last = time.monotonic()
    while socket.echo("still here") == "still here":
        last = time.monotonic()
        time.sleep(0.1)
    socket.close()
    ended = shop.deployer.wait_ended(requested, 60)
    assert ended.status == "rolled_back", shop.deployer.describe(ended)
    assert 7 < last - began < 15, last - began
    assert shop.units()["green"] == ("inactive", "not-found")


@pytest.mark.alone
def test_back_to_a_container_on_standby_is_one_switch(make_shop: Callable[..., Shop], docker_server: Vps) -> None:
    shop = make_shop(docker_server, recipe="dockerfile")
    shop.deploy("one")
    shop.deploy("two")
    with shop.load() as load:
        time.sleep(0.3)
        began = time.monotonic()
        shop.roll_back("one")
        took = time.monotonic() - began
        time.sleep(0.3)
    print(f"back to a container on standby: {took:.2f} s")
    assert took < CONTAINER_ROLLBACK_SECONDS, took
    assert load.failed == []
    assert shop.page() == "version one"
    assert shop.live == ("blue", shop.versions["one"].release)


@pytest.mark.timeout(300)
def test_after_a_reboot_during_the_switch_exactly_one_container_serves(
    make_shop: Callable[..., Shop], docker_server: Vps
) -> None:
    shop = make_shop(docker_server, recipe="dockerfile")
    shop.deploy("one")
    shop.commit("two")
    stop_master(shop)
    requested = shop.deployer.request(shop.environment)
    wait_in_switch(shop, requested)
    docker_server.stop()
    docker_server.start()
    ended = shop.deployer.wait_ended(requested, 120)
    assert ended.status in ("failed", "rolled_back"), shop.deployer.describe(ended)
    wait_for_page(shop, "version one")
    assert shop.units() == {"blue": ("running", "unless-stopped")}
    assert shop.litter() == ""
    shop.deploy("three")
    assert shop.page() == "version three"


def test_cancelled_while_it_starts(shop: Shop) -> None:
    shop.deploy("one")
    shop.commit("two", "slow start")
    requested = shop.deployer.request(shop.environment)
    shop.deployer.wait_for_step(requested, "check colour")
    shop.deployer.cancel(requested)
    ended = shop.deployer.wait_ended(requested, 60)
    assert ended.status == "cancelled", shop.deployer.describe(ended)
    assert shop.page() == "version one"
    assert shop.units()["green"] == ("inactive", "not-found")
    assert shop.litter() == ""


@pytest.mark.parametrize("step", ["start", "check colour", "switch", "watch", "retire"])
def test_killed_at_any_point_it_is_taken_back(make_shop: Callable[..., Shop], server: Vps, step: str) -> None:
    shop = make_shop(server, strategy_options={**QUICK, "watch_seconds": "3", "standby_minutes": "0"})
    shop.deploy("one")
    shop.commit("two")
    with shop.load() as load:
        requested = shop.deployer.request(shop.environment)
        shop.deployer.wait_for_step(requested, step)
        shop.vps.run(KILL_RUN.format(run=requested.pk.hex))
        ended = shop.deployer.wait_ended(requested, 90)
    shown = shop.deployer.describe(ended)
    assert load.failed == [], shown
    assert ended.status in ("failed", "rolled_back", "success"), shown
    version = "two" if ended.status == "success" else "one"
    assert shop.page() == f"version {version}", shown
    colour, _ = shop.live
    assert shop.units()[colour] == ("active", "enabled"), shown
    assert shop.litter() == "", shown
    shop.deploy("three")
    assert shop.page() == "version three"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", ["check colour", "switch", "watch"])
def test_after_a_reboot_in_the_middle_exactly_one_colour_serves(
    make_shop: Callable[..., Shop], make_vps: Callable[..., Vps], step: str
) -> None:
    vps = make_vps(systemd=True, user="root")
    vps.run("systemctl enable nginx")
    shop = make_shop(vps)
    shop.deploy("one")
    shop.deployer.change(shop.environment, strategy_options={**QUICK, "watch_seconds": "30"})
    shop.commit("two", "slow start")
    if step == "switch":
        stop_master(shop)
    requested = shop.deployer.request(shop.environment)
    if step == "switch":
        wait_in_switch(shop, requested)
    else:
        shop.deployer.wait_for_step(requested, step)
    vps.stop()
    vps.start()
    ended = shop.deployer.wait_ended(requested, 120)
    shown = shop.deployer.describe(ended)
    assert ended.status in ("failed", "rolled_back"), shown
    wait_for_page(shop, "version one", 20)
    assert shop.units() == {"blue": ("active", "enabled"), "green": ("inactive", "not-found")}
    shop.deployer.change(shop.environment, strategy_options=QUICK)
    shop.deploy("three")
    vps.stop()
    vps.start()
    wait_for_page(shop, "version three", 20)
    assert sorted(state for state, _ in shop.units().values()) == ["active", "inactive"]


@pytest.mark.parametrize("may", ["all", "little"])
def test_a_deploy_user_with_sudo_and_one_with_units_of_its_own(
    make_shop: Callable[..., Shop], make_vps: Callable[..., Vps], may: str
) -> None:
    vps = make_vps(systemd=True)
    allowed = (
        "ALL"
        if may == "all"
        else "/usr/sbin/nginx -T, /usr/bin/systemctl reload nginx, /usr/bin/systemctl restart nginx"
    )
    shop = make_shop(vps, recipe="python", recipe_options={"start_command": "python3 app.py"})
    shop.repository.commit({"requirements.txt": "", "app.py": PYTHON_APP})
    if may == "little":
        shop.deploy("one", status="failed", error="/etc/sudoers.d: deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -T")
    vps.put(f"deploy ALL=(root) NOPASSWD: {allowed}\n", "/etc/sudoers.d/deploy", user="root", mode="440")
    if may == "little":
        shop.deploy("one", status="failed", error="sudo install -d -o deploy /etc/nginx/devflow.d")
        folder = "install -d -o deploy /etc/nginx/devflow.d"
        include = "echo 'include /etc/nginx/devflow.d/*.conf;' >/etc/nginx/conf.d/devflow.conf"
        vps.run(f"{folder}; {include}", user="root")
        shop.deploy("one", status="failed", error="sudo loginctl enable-linger deploy")
        vps.run("mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/deploy", user="root")
        vps.put(USER_MANAGER, "/run/systemd/system/user@1000.service.d/test.conf", user="root")
        vps.run("install -d -o deploy -m 700 /run/user/1000; systemctl daemon-reload", user="root")
        vps.run("systemctl start user@1000.service", user="root")
    shop.deploy("two")
    assert shop.page() == "version two"
    with shop.load() as load:
        shop.deploy("three")
        shop.roll_back("two")
    assert load.failed == []
    process = vps.run("ps -o user=,args= -C python3 | grep app.py | cut -d' ' -f1 | sort -u").stdout.split()
    assert process == ["deploy"]
