"""The panel behind a real nginx, and behind two of them: whom it takes for the client, and for https."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.panel import Panel, wait_until
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(300)

ADMIN, PASSWORD = "ada@example.test", "correct horse battery"
FORGED = "198.51.100.66"
PASS = """
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header Host panel.example.test;
    add_header X-Peer $remote_addr always;
"""
# /twice/ goes through nginx a second time, as through a proxy of a provider and one of one's own.
SITE = f"""
server {{
    listen 80 default_server;
    location / {{ proxy_pass http://127.0.0.1:9000; {PASS} }}
    location /twice/ {{ proxy_pass http://127.0.0.1:80/; {PASS} }}
}}
"""


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """Its public address is https, where nginx would end it."""
    settings = {"DEVFLOW_URL": "https://panel.example.test", "DEVFLOW_TRUSTED_PROXIES": "127.0.0.1"}
    with Panel(tmp_path_factory.mktemp("proxied") / "data", **settings) as running:
        made = running.run("admin", "create-user", "--email", ADMIN, "--password-stdin", stdin=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr
        yield running


@pytest.fixture(scope="module")
def http(panel: Panel, vps: Vps) -> Iterator[httpx.Client]:
    """Asks through nginx, as a browser would that has https ended there."""
    vps.put(SITE, "/etc/nginx/sites-enabled/site", user="root")
    vps.run("rm -f /etc/nginx/sites-enabled/default; nginx -q -t && nginx", user="root")
    with _tunnel(vps, panel.port), httpx.Client(base_url=f"http://{vps.host}:{vps.http_port}", timeout=20) as client:
        wait_until(lambda: client.get("/healthz").status_code == 200, 30)
        yield client


@pytest.fixture(scope="module")
def as_owner(panel: Panel) -> dict[str, str]:
    made = panel.run("admin", "create-token", "--email", ADMIN, "--scopes", "admin")
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


@pytest.mark.parametrize("way", ["", "/twice"])
@pytest.mark.parametrize("forged", [{}, {"X-Forwarded-For": FORGED}, {"X-Forwarded-For": f"{FORGED}, 127.0.0.1"}])
def test_the_client_is_whom_nginx_saw(
    http: httpx.Client, as_owner: dict[str, str], way: str, forged: dict[str, str]
) -> None:
    peer = http.get("/healthz").headers["X-Peer"]
    answer = http.get(f"{way}/api/v1/networks", headers=as_owner | forged)
    assert answer.json()["address"] == peer
    assert peer not in ("127.0.0.1", FORGED)


def test_https_that_ends_at_nginx_is_https(http: httpx.Client) -> None:
    """Logging in needs the origin check of CSRF, cookies for https only, and a redirect that stays there."""
    page = http.get("/accounts/login/")
    assert "max-age" in page.headers["Strict-Transport-Security"]
    assert "Secure" in page.headers["Set-Cookie"]
    secret = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    typed = {"login": ADMIN, "password": PASSWORD, "csrfmiddlewaretoken": secret}
    cookies = {"Cookie": page.headers["Set-Cookie"].partition(";")[0]}
    foreign = http.post("/accounts/login/", data=typed, headers=cookies | {"Origin": "https://evil.example.test"})
    assert foreign.status_code == 403
    entered = http.post("/accounts/login/", data=typed, headers=cookies | {"Origin": "https://panel.example.test"})
    assert (entered.status_code, entered.headers["Location"]) == (302, "/")


def test_what_nginx_does_not_send_on_is_not_believed_either(http: httpx.Client) -> None:
    sent = {"X-Forwarded-Host": "evil.example.test", "X-Real-IP": FORGED, "Forwarded": f"for={FORGED};proto=http"}
    answer = http.get("/", headers={name: value for name, value in sent.items() if name != "X-Forwarded-Host"})
    assert (answer.status_code, answer.headers["Location"].startswith("/accounts/login/")) == (302, True)
    assert http.get("/accounts/login/", headers=sent).status_code == 400, "nginx passes it on; that host is not ours"


@contextmanager
def _tunnel(vps: Vps, port: int) -> Iterator[None]:
    """The panel, on port 9000 of the server."""
    command = [*vps.ssh_command, "-o", "ExitOnForwardFailure=yes", "-N", "-R", f"9000:127.0.0.1:{port}"]
    with subprocess.Popen([*command, f"root@{vps.host}"], stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
