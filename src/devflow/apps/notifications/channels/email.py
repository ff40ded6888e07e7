"""E-mail, by the panel's own mail server or one of the team's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import smtplib
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as panel
from django.template.loader import render_to_string
from django.utils import timezone

from devflow.apps import outgoing
from devflow.apps.notifications.channels.base import ChannelKind, Delivery, Field, Receipt, Value, check_email
from devflow.apps.notifications.messages import Message, cut, one_line
from devflow.core.errors import OutgoingError

COLOURS = {"neutral": "#64748b", "good": "#16a34a", "warning": "#d97706", "bad": "#dc2626"}
_SUBJECT, _ERROR = 200, 5000
_TIMEOUT_SECONDS = 15.0
_DEADLINE_SECONDS, _GRACE_SECONDS = 45.0, 5.0
_TOO_LATE = "The mail server did not answer in time."
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="mail")


class Email(ChannelKind):
    name = "email"
    title = "E-mail"
    summary = "A mail to people, by the panel's mail server or one of your own."
    fields = (
        Field("to", "To", "emails", is_required=True, placeholder="ada@example.com", help="One or more addresses."),
        Field(
            "host",
            "Mail server",
            placeholder="smtp.example.com",
            help="Empty: the panel's own, which its operator sets in EMAIL_URL.",
        ),
        Field("port", "Port", "number", default=587, help="587 for STARTTLS, 465 for TLS."),
        Field(
            "encryption",
            "Encryption",
            "choice",
            default="starttls",
            choices=(("starttls", "STARTTLS"), ("tls", "TLS from the start"), ("none", "none")),
            help="The certificate is always checked.",
        ),
        Field("user", "User", help="Empty where the server wants no login."),
        Field("password", "Password", is_secret=True),
        Field(
            "sender",
            "From",
            placeholder="devflow@example.com",
            help="Empty: the panel's own sender, or the user where that is an address.",
        ),
    )

    def clean(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Without a user there is no password: who takes the one away takes away both."""
        return super().clean(given if given.get("user") else {**given, "password": ""})

    def check(self, settings: Mapping[str, Any]) -> dict[str, str]:
        errors = {}
        if problem := outgoing.literal_problem(settings["host"]):
            errors["host"] = problem
        if not settings["host"] and not panel.HAS_MAIL:
            errors["host"] = "This panel has no mail server of its own (EMAIL_URL): give one here."
        if not settings["host"] and (settings["user"] or settings["password"]):
            errors["host"] = "A user and password are of a mail server: give its name."
        if settings["encryption"] == "none" and settings["password"]:
            errors["encryption"] = "A password is not sent without encryption."
        if settings["sender"]:
            try:
                check_email(settings["sender"])
            except ValueError as error:
                errors["sender"] = str(error)
        return errors

    def address(self, settings: Mapping[str, Any]) -> str:
        first, *others = settings["to"]
        return f"{first} and {len(others)} more" if others else str(first)

    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        mail = compose(delivery, to=settings["to"], sender=_sender(settings))
        loop = asyncio.get_running_loop()
        ends_at = time.monotonic() + _DEADLINE_SECONDS
        try:
            # The thread ends by itself at the deadline, and what it knows of the mail by then is what counts.
            async with asyncio.timeout(_DEADLINE_SECONDS + _GRACE_SECONDS):
                server = await _server(settings)
                return await loop.run_in_executor(_THREADS, _send, server, mail, settings["to"], ends_at)
        except TimeoutError:
            raise OutgoingError(_TOO_LATE, transient=True) from None


@dataclass(frozen=True, slots=True)
class _Server:
    """A mail server. `address` is what is connected to, `host` what its certificate must name."""

    host: str
    address: str
    port: int
    encryption: str
    user: str
    password: str


def compose(delivery: Delivery, *, to: list[str], sender: str) -> EmailMessage:
    """The mail, as text and as HTML. Its Message-ID is the delivery's, so a repeat is known as one."""
    message = delivery.message
    mail = EmailMessage()
    name, address = parseaddr(sender)
    domain = address.rpartition("@")[2] or "localhost"
    mail["Subject"] = cut(one_line(message.title), _SUBJECT)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = [Address(addr_spec=each) for each in to]
    mail["Date"] = format_datetime(timezone.now())
    mail["Message-ID"] = f"<{delivery.id}@{domain}>"
    if delivery.subject:  # mails about one deployment form a thread
        mail["References"] = f"<{delivery.subject}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-DevFlow-Event"] = delivery.event
    error = cut(message.error, _ERROR)
    mail.set_content(_text(message, error))
    html = render_to_string(
        "notifications/email.html", {"message": message, "error": error, "colour": COLOURS[message.tone]}
    )
    mail.add_alternative(html, subtype="html")
    return mail


def _text(message: Message, error: str) -> str:
    facts = "\n".join(f"{label}: {one_line(value)}" for label, value in message.facts)
    parts = [message.title, message.text, one_line(message.commit_message), facts, error, message.url]
    return "\n\n".join(part for part in parts if part) + "\n"


async def _server(settings: Mapping[str, Any]) -> _Server:
    if not settings["host"]:
        return _panel_server()
    host, port = settings["host"], settings["port"]
    address = (await outgoing.resolve(host, port))[0]
    return _Server(host, address, port, settings["encryption"], settings["user"], settings["password"])


def _panel_server() -> _Server:
    if not panel.HAS_MAIL:
        raise OutgoingError("This panel has no mail server any more: its operator sets one in EMAIL_URL.")
    by_setting = {"tls": getattr(panel, "EMAIL_USE_SSL", False), "starttls": getattr(panel, "EMAIL_USE_TLS", False)}
    encryption = next((name for name, is_set in by_setting.items() if is_set), "none")
    host, port = panel.EMAIL_HOST, panel.EMAIL_PORT
    return _Server(host, host, port, encryption, panel.EMAIL_HOST_USER, panel.EMAIL_HOST_PASSWORD)


def _sender(settings: Mapping[str, Any]) -> str:
    if settings["sender"]:
        return str(settings["sender"])
    return settings["user"] if settings["host"] and "@" in settings["user"] else panel.DEFAULT_FROM_EMAIL


class _Deadline:
    """Breaks a connection when its time is up.

    The timeouts of sockets are for one read: a server that goes on dripping would hold the thread for ever.
    """

    def __init__(self, ends_at: float) -> None:
        self._ends_at = ends_at
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(max(0.0, ends_at - time.monotonic()), self._break)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._ends_at

    def watch(self, connected: socket.socket) -> None:
        """Raises TimeoutError where the time is up already."""
        with self._lock:
            if self.has_passed:
                connected.close()
                raise TimeoutError(_TOO_LATE)
            self._connection = connected.dup()  # TLS takes the socket itself over

    def _break(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._connection:
                self._connection.shutdown(socket.SHUT_RDWR)


def _send(server: _Server, mail: EmailMessage, to: list[str], ends_at: float) -> Receipt:
    with _Deadline(ends_at) as deadline:
        return _send_until(deadline, server, mail, to)


def _send_until(deadline: _Deadline, server: _Server, mail: EmailMessage, to: list[str]) -> Receipt:
    try:
        with _connected(server, deadline) as client:
            refused = client.send_message(mail, to_addrs=to)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise _refusal(server, code, said) from None
    except smtplib.SMTPResponseException as error:
        raise _refusal(server, error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPNotSupportedError as error:
        raise OutgoingError(f"{server.host} cannot do what is set here: {error}") from None
    except (smtplib.SMTPServerDisconnected, smtplib.SMTPException) as error:
        if deadline.has_passed:
            raise OutgoingError(_TOO_LATE, transient=True) from None
        raise OutgoingError(f"{server.host} broke the connection: {error}", transient=True) from None
    except OSError as error:
        if deadline.has_passed:
            raise OutgoingError(_TOO_LATE, transient=True) from None
        if known := outgoing.certificate_problem(server.host, error):
            raise known from None
        raise OutgoingError(f"{server.host} cannot be reached: {error.strerror or error}.", transient=True) from None
    return Receipt(250, f"Not taken: {', '.join(sorted(refused))}." if refused else "")


@contextlib.contextmanager
def _connected(server: _Server, deadline: _Deadline):  # type: ignore[no-untyped-def]
    context = outgoing.tls_context()
    if server.encryption == "tls":
        client: smtplib.SMTP = _TlsClient(server, deadline, context=context)
    else:
        client = _Client(server, deadline)
    try:
        if server.encryption == "starttls":
            client.starttls(context=context)
        if server.user:
            _log_in(client, server.user, server.password)
        yield client
    finally:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            client.quit()


def _log_in(client: smtplib.SMTP, user: str, password: str) -> None:
    if (user + password).isascii():
        client.login(user, password)
        return
    # smtplib knows ASCII only; PLAIN is UTF-8 (RFC 4616)
    client.ehlo_or_helo_if_needed()
    code, said = client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
    if code not in (235, 503):
        raise smtplib.SMTPAuthenticationError(code, said)


class _Client(smtplib.SMTP):
    """Connects to the address that was looked up, and checks the certificate for the host's name."""

    def __init__(self, server: _Server, deadline: _Deadline, **more: Any) -> None:
        self._address, self._deadline = server.address, deadline
        super().__init__(server.host, server.port, local_hostname=_own_name(), timeout=_TIMEOUT_SECONDS, **more)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((self._address, port), timeout)
        self._deadline.watch(connected)
        return connected


class _TlsClient(smtplib.SMTP_SSL):
    """The same, encrypted from the start."""

    def __init__(self, server: _Server, deadline: _Deadline, **more: Any) -> None:
        self._address, self._deadline = server.address, deadline
        super().__init__(server.host, server.port, local_hostname=_own_name(), timeout=_TIMEOUT_SECONDS, **more)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((self._address, port), timeout)
        self._deadline.watch(connected)
        return self.context.wrap_socket(connected, server_hostname=self._host)  # type: ignore[attr-defined]


def _own_name() -> str:
    """How the panel introduces itself: by its public name; smtplib would look its own up, which may hang."""
    return urlsplit(panel.PUBLIC_URL).hostname or "localhost"


def _refusal(server: _Server, code: int, said: bytes | str) -> OutgoingError:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return OutgoingError(
        f"{server.host} answered {code}: {cut(one_line(text), 300)}", transient=400 <= code < 500, status=code
    )
