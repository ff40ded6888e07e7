"""`devflow doctor` on a panel that runs, with what can be wrong with it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import httpx
import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devflow.embedded import running_url
from tests.support.docker_engine import install_packages
from tests.support.panel import Panel, free_port, wait_until

pytestmark = pytest.mark.timeout(90)

# An address of this machine that is not taken for loopback.
HOST = "0.0.0.0"


class Proxy(BaseHTTPRequestHandler):
    """Before the panel at `target`; says `says_https` of how it was called."""

    target = ""
    says_https = True

    def do_GET(self) -> None:
        headers = {"X-Forwarded-Proto": "https"} if self.says_https else {}
        with urlopen(Request(self.target + self.path, headers=headers), timeout=10) as answer:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())

    def log_message(self, *_: Any) -> None:
        return


class Stranger(Proxy):
    """Another program at the panel's address."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()


class Stripping(Proxy):
    """A proxy that passes on nothing but the body."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=1")
        self.end_headers()
        with urlopen(self.target + self.path, timeout=10) as answer:
            self.wfile.write(answer.read())


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("panel")
    url = f"https://{HOST}:{free_port()}"
    with Panel(folder / "data", DEVFLOW_URL=url, DEVFLOW_TRUSTED_PROXIES="127.0.0.1") as running:
        running.run("admin", "create-user", "--email", "ada@example.test", "--password-stdin", stdin="lovelace 1815\n")
        yield running


def examined(panel: Panel, **settings: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit status, and of each check the states and findings."""
    asked = Panel(panel.data_dir, panel.port, **{**panel.settings, **settings})
    done = asked.run("doctor", "--json")
    found: dict[str, list[tuple[str, str]]] = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["check"], []).append((each["state"], each["found"]))
        assert bool(each["mend"]) == (each["state"] != "ok"), "what is wrong comes with what to do"
    return done.returncode, found


@contextmanager
def proxied(
    panel: Panel, folder: Path, handler: type[Proxy] = Proxy, *, days: float = 60, **said: Any
) -> Iterator[str]:
    """The panel behind a proxy with a certificate for so many days; the file of who signed it."""
    port = int(panel.settings["DEVFLOW_URL"].rpartition(":")[2])
    crt, key = certificate(folder, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    kind = type("Handler", (handler,), {"target": panel.url, **said})
    server = ThreadingHTTPServer((HOST, port), kind)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield str(crt)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path, days: float) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "panel")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return folder / "crt", folder / "key"


def test_all_is_well(panel: Panel, tmp_path: Path) -> None:
    with proxied(panel, tmp_path) as trusted:
        code, found = examined(panel, SSL_CERT_FILE=trusted)
    assert code == 0, found
    assert {name for name, said in found.items() if said[0][0] != "ok"} <= {"backup", "clock", "alerts"}, found
    assert found["certificate"] == [("ok", "holds for 59 more days")]
    assert found["proxy"][0][0] == "ok"
    assert found["database"][0][1].startswith("PostgreSQL 1")
    assert found["worker"] == [("ok", "1 at work")]
    assert found["e-mail"] == [("ok", "not used: EMAIL_URL is not set")]


def test_a_proxy_that_does_not_say_https(panel: Panel, tmp_path: Path) -> None:
    with proxied(panel, tmp_path, days=5, says_https=False) as trusted:
        code, found = examined(panel, SSL_CERT_FILE=trusted)
    assert code == 1
    assert found["certificate"] == [("warning", "holds for 4 more days")]
    assert found["proxy"] == [("failed", "the panel does not know that it is called by https")]


def test_a_certificate_that_has_ended(panel: Panel, tmp_path: Path) -> None:
    with proxied(panel, tmp_path, days=-1) as trusted:
        code, found = examined(panel, SSL_CERT_FILE=trusted)
    assert code == 1
    assert found["certificate"] == [("failed", "browsers refuse it: certificate has expired")]


def test_another_program_at_the_address(panel: Panel, tmp_path: Path) -> None:
    with proxied(panel, tmp_path, Stranger) as trusted:
        code, found = examined(panel, SSL_CERT_FILE=trusted)
    assert (code, found["address"][0][0]) == (1, "failed")


def test_a_proxy_that_takes_headers_away_and_an_open_port_beside_it(panel: Panel, tmp_path: Path) -> None:
    with proxied(panel, tmp_path, Stripping) as trusted:
        code, found = examined(panel, SSL_CERT_FILE=trusted, DEVFLOW_HOST=HOST)
    assert (code, found["port"][0][0]) == (1, "warning")
    assert found["headers"] == [("failed", "not in the answers: content-security-policy, x-content-type-options")]


def test_an_address_that_is_not_reached_from_here_may_be_well(panel: Panel) -> None:
    code, found = examined(panel, DEVFLOW_URL=f"http://{HOST}:{free_port()}")
    assert (code, found["address"][0][0], found["https"][0][0]) == (0, "warning", "warning")


def test_servers_that_are_away_jobs_that_wait_and_an_old_backup(panel: Panel) -> None:
    made = panel.run("admin", "create-token", "--email", "ada@example.test", "--scopes", "admin")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    body = {"name": "away", "host": "127.0.0.1", "port": free_port(), "user": "deploy"}
    assert httpx.post(f"{panel.url}/api/v1/servers", json=body, headers=headers, timeout=60).is_success
    backup = panel.run("admin", "backup", str(panel.data_dir / "b"), "--passphrase-stdin", stdin="twelve letters")
    assert backup.returncode == 0, backup.stderr
    local = {"DEVFLOW_URL": panel.url}
    wait_until(lambda: examined(panel, **local)[1]["servers"] == [("warning", "1 of 1 cannot be reached: away")], 30)
    code, found = examined(panel, **local)
    assert found["backup"] == [("ok", "the panel was backed up 0 days ago")]
    assert (code, found["queue"][0][0], found["alerts"][0][0]) == (0, "ok", "warning")
    worker = panel.child("worker")
    os.kill(worker, signal.SIGSTOP)  # nobody takes the job
    try:
        with psycopg.connect(running_url(panel.data_dir) or "", autocommit=True) as connection:
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status) VALUES ('q', 't', '{}', 'todo')"
            )
            connection.execute("UPDATE procrastinate_events SET at = at - interval '1 hour' WHERE type = 'deferred'")
            state, said = examined(panel, **local)[1]["queue"][0]
            connection.execute("DELETE FROM procrastinate_jobs WHERE queue_name = 'q'")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert state == "warning"
    assert said.startswith("1 jobs wait, the oldest for 36")


def test_the_mail_server_is_tried(panel: Panel) -> None:
    local = {"DEVFLOW_URL": panel.url}
    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        url = f"smtp+plain://127.0.0.1:{controller.port}"
        assert examined(panel, EMAIL_URL=url, **local)[1]["e-mail"][0][0] == "ok"
    finally:
        controller.stop()
    code, found = examined(panel, EMAIL_URL=url, **local)
    assert (code, found["e-mail"][0][0]) == (1, "failed")


def test_redis_is_tried(panel: Panel, tmp_path: Path) -> None:
    install_packages("redis-server:redis-server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "s3 cret"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://:s3%20cret@127.0.0.1:{port}/0"
            local = {"DEVFLOW_URL": panel.url}
            wait_until(lambda: examined(panel, REDIS_URL=url, **local)[1]["redis"][0][0] == "ok", 15)
            _, found = examined(panel, REDIS_URL=url.replace("s3", "x"), **local)
        finally:
            process.kill()
    assert (found["redis"][0][0], "s3" in str(found), "x cret" in str(found)) == ("warning", False, False)


def test_wrong_settings_are_told_and_the_rest_is_looked_at(panel: Panel, tmp_path: Path) -> None:
    local = {"DEVFLOW_URL": panel.url}
    (tmp_path / "garbage").write_text("no key")
    (tmp_path / "garbage").chmod(0o600)
    (tmp_path / "open").write_text("00" * 32)
    (tmp_path / "open").chmod(0o644)
    for name in ("missing", "garbage", "open"):
        code, found = examined(panel, DEVFLOW_KEY_FILE=str(tmp_path / name), **local)
        states = {check: said[0][0] for check, said in found.items()}
        assert (code, states["master key"], states["database"], "settings" in states) == (1, "failed", "ok", False)
    code, found = examined(panel, EMAIL_URL="smtp", **local)
    assert (code, found["e-mail"][0][0], found["database"][0][0]) == (1, "failed", "ok")
    code, found = examined(panel, DATABASE_REPLICA_URL="postgresql://h/x?hunter2=%", **local)
    assert (code, found["settings"][0][0], "hunter2" in str(found)) == (1, "failed", False)


def test_wrong_settings_are_one_line(panel: Panel, tmp_path: Path) -> None:
    wrong = {"DATABASE_URL": running_url(panel.data_dir) or "", "EMAIL_URL": "smtp"}
    asked = Panel(tmp_path / "data", free_port(), **wrong, DEVFLOW_KEY_FILE=str(panel.data_dir / "master.key"))
    for command in ("up", "web", "worker", "admin setup-address", "doctor"):
        done = asked.run(*command.split())
        told = done.stdout.count("EMAIL_URL: must be like") if command == "doctor" else done.stderr.count("\n")
        assert (done.returncode, told) == (1, 1), done.stderr
        assert "EMAIL_URL: must be like smtp://" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_stopped_is_told(panel: Panel) -> None:
    """Comes last."""
    panel.stop()
    done = panel.run("doctor")
    assert done.returncode == 1
    assert "failed   database" in done.stdout
    assert "Start `devflow up`" in done.stdout
    assert f"nothing listens on 127.0.0.1:{panel.port}" in done.stdout
    gone = Panel(panel.data_dir, panel.port, DEVFLOW_KEY_FILE=str(panel.data_dir / "gone")).run("doctor")
    assert "→ Put it back from your backup." in gone.stdout
    panel.start()
