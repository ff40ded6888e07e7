"""The test servers that run containers themselves: what other tests rely on is there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.docker_engine import Engine
from tests.support.vps import DOCKER_FOLDER, Vps

DOCKERFILE = 'FROM devflow-base\nCOPY server.py /server.py\nCMD ["python3", "/server.py"]\n'
SERVER = "from http.server import *\nHTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()\n"
COMPOSE = """\
services:
  web:
    build: .
    ports: ["127.0.0.1:8100:8000"]
    restart: always
    healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1:8000/"], interval: 1s}
"""
ASK = "curl -sS --retry 50 --retry-connrefused --retry-delay 0 -o /dev/null -w '%{http_code}' 127.0.0.1:8100/server.py"


@pytest.fixture(scope="module")
def pair(docker_engine: Engine, docker_image: str) -> Iterator[list[Vps]]:
    """Two servers, started side by side."""
    servers = [Vps(docker_engine, docker_image, systemd=True, docker=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Vps.__enter__, servers))
    yield servers
    for server in servers:
        server.close()


def test_the_deploy_user_builds_and_runs_an_image_which_a_reboot_starts_again(pair: list[Vps]) -> None:
    server = pair[0]
    server.base_image()
    for name, text in {"Dockerfile": DOCKERFILE, "server.py": SERVER, "compose.yaml": COMPOSE}.items():
        server.put(text, f"/home/deploy/app/{name}")
    assert "overlay2" in server.run("docker info --format '{{.Driver}}'").stdout
    server.run("cd app && docker compose up --detach --build --wait")
    assert server.run(ASK).stdout == "200"
    server.stop()
    server.start()
    assert server.run(ASK).stdout == "200"


def test_faults_work_on_a_server_with_containers_inside(pair: list[Vps]) -> None:
    server = pair[0]
    server.base_image()
    server.run("docker run --rm --detach devflow-base sleep 60")
    server.cut()
    with pytest.raises(subprocess.TimeoutExpired):
        server.run("true", timeout_seconds=1)
    server.mend()
    server.restart_sshd()
    assert server.run("true").returncode == 0


def test_without_its_group_the_deploy_user_may_not_speak_to_docker(pair: list[Vps]) -> None:
    pair[0].run("gpasswd -d deploy docker", user="root")
    assert "permission denied" in pair[0].run("docker ps", check=False).stderr
    pair[0].run("gpasswd -a deploy docker", user="root")
    assert pair[0].run("docker ps").returncode == 0


def test_a_registry_serves_the_other_server_with_a_login_and_without(pair: list[Vps]) -> None:
    first, second = pair
    first.base_image()
    image = f"{first.start_registry()}/base"
    first.run(f"docker tag devflow-base {image} && docker push --quiet {image}")
    second.run(f"docker pull --quiet {image}")
    address = first.start_registry(login=("joe", "two words"))
    assert "no basic auth" in second.run(f"docker pull {image}", check=False).stderr
    second.run(f"docker login --username joe --password-stdin {address}", stdin="two words")
    assert second.run(f"docker pull --quiet {image}").stdout.strip() == f"{image}:latest"


def test_haproxy_runs_and_socat_speaks_to_it(pair: list[Vps]) -> None:
    said = pair[1].run("echo show info | socat - /run/haproxy/admin.sock", user="root").stdout
    assert "Name: HAProxy" in said


def test_docker_is_off_where_it_is_not_wanted(docker_engine: Engine, docker_image: str) -> None:
    with Vps(docker_engine, docker_image, systemd=True) as server:
        answers = server.run("systemctl is-active haproxy docker containerd", check=False).stdout.split()
    assert answers == ["active", "inactive", "inactive"]


def test_a_small_disk_for_images_fills_up(make_vps: Callable[..., Vps]) -> None:
    server = make_vps(systemd=True, docker=True, tmpfs={DOCKER_FOLDER: "size=100m"})
    server.base_image()
    ran = server.run("docker run --rm devflow-base dd if=/dev/zero of=/big bs=1M count=90", check=False)
    assert "No space left" in ran.stderr


def test_the_volume_goes_with_the_server(docker_engine: Engine, docker_image: str) -> None:
    with Vps(docker_engine, docker_image, systemd=True, docker=True) as server:
        mounts = docker_engine.output("inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", server.name)
        (volume,) = mounts.split()
    assert docker_engine.run("volume", "inspect", volume, check=False).returncode != 0
