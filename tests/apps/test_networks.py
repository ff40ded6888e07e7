"""`devflow web` behind proxies, from certain networks, for scripts of other sites: over real connections."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.panel import Panel, free_port, wait_until

pytestmark = pytest.mark.timeout(120)

ADMIN = "ada@example.test"
CLIENT, FORGED = "203.0.113.7", "198.51.100.66"
ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as running:
        made = running.run(
            "admin", "create-user", "--email", ADMIN, "--password-stdin", stdin="correct horse battery\n"
        )
        assert made.returncode == 0, made.stderr
        yield running


@pytest.fixture(scope="module")
def token(panel: Panel) -> str:
    return panel.run("admin", "create-token", "--email", ADMIN, "--scopes", "admin").stdout.strip()


@contextmanager
def web(panel: Panel, *arguments: str, **environ: str) -> Iterator[int]:
    """Another `devflow web` of this panel; its port, 0 on a Unix socket."""
    port = 0 if arguments else free_port()
    uds = arguments[0].removeprefix("--uds=") if arguments else ""
    environment = panel.environment | environ
    with subprocess.Popen(panel.command("web", *(arguments or [f"--port={port}"])), env=environment) as process:
        try:
            wait_until(lambda: _answers(port, uds), 20)
            yield port
        finally:
            process.terminate()


def test_what_an_untrusted_peer_forwards_is_ignored(panel: Panel, token: str) -> None:
    with web(panel) as port:
        assert seen(port, token, f"X-Forwarded-For: {FORGED}", "X-Real-IP: 1.2.3.4") == "127.0.0.1"
        assert seen(port, token, f"X_Forwarded_For: {FORGED}") == "127.0.0.1"


def test_a_chain_is_read_from_the_right(panel: Panel, token: str) -> None:
    with web(panel, DEVFLOW_TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8") as port:
        assert seen(port, token, f"X-Forwarded-For: {FORGED}, {CLIENT}, 10.0.0.9") == CLIENT
        assert seen(port, token, f"X-Forwarded-For: {FORGED}", f"X-Forwarded-For: {CLIENT}:4711") == CLIENT
        assert seen(port, token, f"X-Forwarded-For: {FORGED}, garbage") == "127.0.0.1"
        assert seen(port, token, "x-forwarded-for:[2001:DB8::7]:4711") == "2001:db8::7"
        assert seen(port, token, f"X-Forwarded-For: {CLIENT}", f"X_Forwarded_For: {FORGED}") == CLIENT


def test_behind_a_unix_socket_the_proxy_is_trusted(panel: Panel, token: str, tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    with web(panel, f"--uds={path}"):
        assert seen(0, token, f"X-Forwarded-For: {FORGED}, {CLIENT}", uds=path) == CLIENT
        assert seen(0, token, uds=path) == "127.0.0.1"


def test_the_panel_is_used_from_its_networks_only(panel: Panel, token: str) -> None:
    settings = {"DEVFLOW_ALLOWED_NETWORKS": "192.0.2.0/24", "DEVFLOW_TRUSTED_PROXIES": "127.0.0.1"}
    with web(panel, **settings) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        inside = {"X-Forwarded-For": "192.0.2.9"}
        for path in ("/", "/accounts/login/", "/static/panel.css", "/api/v1/whoami", "/api/v1/deployments/x/events"):
            refused = http.get(path, headers={"Authorization": f"Bearer {token}"})
            assert refused.status_code == 403, path
            assert "127.0.0.1" in refused.text
            assert "Content-Security-Policy" in refused.headers
            assert http.get(path, headers=inside).status_code != 403, path
        for path in ("/healthz", "/readyz"):
            assert http.get(path).status_code == 200
        assert http.post("/webhooks/github/unknown").status_code == 404
        assert http.get("/api/v1/whoami", headers=inside | {"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_team_is_used_from_its_networks_only_and_the_machine_is_the_way_out(panel: Panel, token: str) -> None:
    as_owner = {"Authorization": f"Bearer {token}"}
    with (
        web(panel, DEVFLOW_TRUSTED_PROXIES="127.0.0.1") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", headers=as_owner) as http,
    ):
        refused = http.put("networks", json={"networks": ["192.0.2.0/24"]})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "is_confirmed")
        assert http.put("networks", json={"networks": ["192.0.2.0/24"], "is_confirmed": True}).status_code == 200
        try:
            for path in ("whoami", "projects", f"deployments/{'0' * 8}-0000-7000-8000-{'0' * 12}/events"):
                assert http.get(path).status_code == 403, path
            assert http.get("whoami", headers={"X-Forwarded-For": "192.0.2.9"}).status_code == 200
        finally:
            cleared = panel.run("admin", "clear-networks")
        assert cleared.returncode == 0, cleared.stderr
        assert http.get("whoami").status_code == 200


def test_other_sites_are_told_nothing_by_default(panel: Panel, token: str) -> None:
    sent = {"Origin": ORIGIN, "Authorization": f"Bearer {token}"}
    assert cors_headers(httpx.get(f"{panel.url}/api/v1/whoami", headers=sent)) == {}
    assert cors_headers(_preflight(panel.url)) == {}


def test_a_site_on_the_list_may_use_the_api_with_a_token(panel: Panel, token: str) -> None:
    with web(panel, DEVFLOW_CORS_ORIGINS=f"{ORIGIN},https://other.example.org") as port:
        url = f"http://127.0.0.1:{port}"
        allowed = _preflight(url)
        assert allowed.status_code == 204
        assert cors_headers(allowed) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
            "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID",
            "access-control-max-age": "600",
        }
        answer = httpx.get(f"{url}/api/v1/whoami", headers={"Origin": ORIGIN, "Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        stream = httpx.get(f"{url}/api/v1/deployments/x/events", headers={"Origin": ORIGIN})
        assert (stream.status_code, stream.headers["access-control-allow-origin"]) == (401, ORIGIN)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.org", f"{ORIGIN}.evil.example.org", "http://app.example.org", f"{ORIGIN}:8443", "null", ""],
)
def test_no_other_site_may(shared: int, origin: str) -> None:
    url = f"http://127.0.0.1:{shared}"
    assert cors_headers(_preflight(url, origin)) == {}
    answer = httpx.get(f"{url}/api/v1/whoami", headers={"Origin": origin})
    assert cors_headers(answer) == {}
    assert "Origin" in answer.headers["vary"]


def test_pages_are_no_other_sites_business(shared: int) -> None:
    assert cors_headers(httpx.get(f"http://127.0.0.1:{shared}/accounts/login/", headers={"Origin": ORIGIN})) == {}


@pytest.fixture(scope="module")
def shared(panel: Panel) -> Iterator[int]:
    """A web process for whose API there is one origin."""
    with web(panel, DEVFLOW_CORS_ORIGINS=ORIGIN) as port:
        yield port


def seen(port: int, token: str, *headers: str, uds: str = "") -> str:
    """From where the panel thinks that the request comes; headers go over the wire as they are."""
    lines = ["GET /api/v1/networks HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", *headers]
    with socket.socket(socket.AF_UNIX) if uds else socket.create_connection(("127.0.0.1", port)) as connection:
        if uds:
            connection.connect(uds)
        connection.settimeout(20)
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    address: str = httpx.Response(200, content=answer.partition(b"\r\n\r\n")[2]).json()["address"]
    return address


def cors_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def _preflight(url: str, origin: str = ORIGIN) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    return httpx.options(f"{url}/api/v1/deployments", headers=headers)


def _answers(port: int, uds: str) -> bool:
    if uds and not Path(uds).exists():
        return False
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=uds or None)) as http:
            return http.get(f"http://127.0.0.1:{port or 80}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_who_may_use_the_panels_own_machine_is_said_on_the_machine(panel: Panel, token: str) -> None:
    def allow(*more: str) -> subprocess.CompletedProcess[str]:
        return panel.run("admin", "allow-local", "--team", "team", *more)

    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}) as http:
        assert allow("--off").stdout == "Team may not use this machine.\n"
        refused = http.post("servers", json={"name": "here", "is_local": True})
        assert (refused.status_code, "devflow admin allow-local --team team" in refused.text) == (403, True)

        assert allow().stdout == "Team may use this machine.\n"
        assert http.post("servers", json={"name": "here", "is_local": True}).status_code == 201
        kept = allow("--off")
        assert (kept.returncode, "Remove that server first" in kept.stderr) == (1, True)
        assert http.delete("servers/here").status_code == 204
        assert panel.run("admin", "allow-local", "--team", "nobody").returncode == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_what_the_api_does_not_have_is_not_there_for_any_method(panel: Panel, token: str, method: str) -> None:
    answer = httpx.request(method, f"{panel.url}/api/v1/nothing", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
