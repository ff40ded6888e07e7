"""Services that channels send to, on loopback: they keep what they get and answer as they are told."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as default_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HANGS, CLOSES, DRIPS = -1, -2, -3
"""Answers that are none: silence, an end of the connection, a byte now and then for ever."""


@dataclass(frozen=True)
class Got:
    """A request: its path with the query, its headers with names in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP service. `answers` are given one after the other, the last for ever: (status, headers, body)."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"ok")])
    got: list[Got] = field(default_factory=list)
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/secret-part"

    def answer(self, *answers: int | tuple[int, dict[str, str], bytes]) -> None:
        self.answers = [(each, {}, b"said so") if isinstance(each, int) else each for each in answers]

    def wait(self, number: int, seconds: float = 20) -> list[Got]:
        """What came, once there are so many."""
        deadline = time.monotonic() + seconds
        while len(self.got) < number and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(self.got) >= number, f"{len(self.got)} of {number} came"
        return self.got


@contextmanager
def receiver(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    """A service on a free port of 127.0.0.1; over TLS with a context."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.got.append(Got(self.path, headers, body))
            status, more, said = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            self.close_connection = True
            if status == HANGS:
                state.released.wait(60)
                return
            if status == CLOSES:
                return
            self.send_response(200 if status == DRIPS else status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            try:
                self.wfile.write(said)
                while status == DRIPS and not state.released.wait(0.1):
                    self.wfile.write(b".")
                    self.wfile.flush()
            except OSError:
                return

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of a test's own. `file` is what SSL_CERT_FILE names."""

    file: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def context(self, *hosts: str) -> ssl.SSLContext:
        """A server's context with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [_name(host) for host in hosts]
        built = _certificate(hosts[0], key.public_key(), issuer=self.certificate.subject)
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = built.sign(self.key, hashes.SHA256())
        folder = self.file.parent
        chain, secret = folder / f"{hosts[0]}.pem", folder / f"{hosts[0]}.key"
        chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(_private(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, secret)
        return context


def make_authority(folder: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DevFlow tests")])
    built = _certificate("DevFlow tests", key.public_key(), issuer=subject)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    built = built.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    certificate = built.sign(key, hashes.SHA256())
    file = folder / "authority.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(file, key, certificate)


@dataclass
class Mailbox:
    """A mail server. `refusals` maps a recipient, or one of MAIL FROM's, to the answer that it gets instead."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if not self.answer.startswith("250"):
            return self.answer
        assert isinstance(envelope.content, bytes)
        parsed = BytesParser(policy=default_policy).parsebytes(envelope.content)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        self.recipients.append(list(envelope.rcpt_tos))
        self.was_encrypted.append(session.ssl is not None or server._tls_protocol is not None)
        return "250 OK"


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None,
    *,
    starttls: bool = True,
    user: str = "",
    password: str = "",
) -> Iterator[Mailbox]:
    """A real SMTP server on a free port of 127.0.0.1: with a context over STARTTLS (or TLS from the start), which it
    requires; with a user it wants a login."""
    box = Mailbox()

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        login = (given.login.decode(), given.password.decode())
        box.logins.append(login)
        return AuthResult(success=login == (user, password), handled=False)

    options: dict[str, Any] = {}
    if context is not None and starttls:
        options |= {"tls_context": context, "require_starttls": True}
    if user:
        is_upgraded = starttls and context is not None  # aiosmtpd takes TLS from the start for none
        options |= {"authenticator": check, "auth_required": is_upgraded, "auth_require_tls": is_upgraded}
    direct = context if context is not None and not starttls else None
    controller = _FreePort(box, hostname="127.0.0.1", port=0, ssl_context=direct, **options)
    controller.start()
    try:
        box.port = controller.port
        yield box
    finally:
        controller.stop(no_assert=True)


class _FreePort(Controller):
    """On a port that the system chooses."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.base_events.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def eventually(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """What `holds()` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    return found


def _certificate(name: str, public_key: ec.EllipticCurvePublicKey, *, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
