"""Mail by a real SMTP server on loopback: encrypted, with a login, and refused in every way."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from devflow.apps.notifications.channels import email
from devflow.apps.notifications.models import Notification
from devflow.core.errors import InvalidError
from tests.apps.notifications.conftest import Channels
from tests.support.receivers import Authority, Mailbox, mail_server, make_authority, receiver


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that the panel trusts."""
    made = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


def send(channels: Channels, box: Mailbox, **settings: Any) -> Notification:
    given = {"to": ["ada@example.com"], "host": "localhost", "port": box.port, "sender": "devflow@example.com"}
    channel = channels.add("email", settings=given | settings)
    channels.tell("Deployment of shop failed", text="Look at it", error="npm: not found")
    channels.send(channel)
    return channels.row(channel)


def test_a_mail_goes_over_starttls_with_a_login(channels: Channels, authority: Authority) -> None:
    context = authority.context("localhost")
    with mail_server(context, user="devflow", password="pässword 'quoted'") as box:
        row = send(
            channels, box, user="devflow", password="pässword 'quoted'", to=["ada@example.com", "bob@example.com"]
        )
    assert (row.status, row.response_status, row.error) == ("sent", 250, "")
    assert box.logins == [("devflow", "pässword 'quoted'")]
    assert box.was_encrypted == [True]
    [mail] = box.mails
    assert mail["Subject"] == "Deployment of shop failed"
    assert mail["From"] == "devflow@example.com"
    assert mail["To"] == "ada@example.com, bob@example.com"
    assert mail["Message-ID"] == f"<{row.pk}@example.com>"
    assert box.recipients == [["ada@example.com", "bob@example.com"]]
    text = mail.get_body(("plain",))
    html = mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "npm: not found" in text.get_content()
    assert "npm: not found" in html.get_content()


def test_a_mail_is_in_the_language_of_the_channel(channels: Channels) -> None:
    with mail_server(None) as box:
        settings = {"to": ["ada@example.com"], "host": "localhost", "port": box.port, "encryption": "none"}
        settings["sender"] = "devflow@example.com"
        channel = channels.add("email", settings=settings, language="de")
        title = "Deployment of Static site to production failed"
        step = {"failed_step": "build", "failed_server": "web1"}
        channels.tell(title, project="Static site", environment="production", duration_seconds=61, url="/x", **step)
        channels.send(channel)
    [mail] = box.mails
    assert mail["Subject"] == "Deployment von Static site nach production ist fehlgeschlagen"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    facts = [
        "Projekt: Static site",
        "Umgebung: production",
        "Dauer: 1 min 1 s",
        "Fehlgeschlagener Schritt: build auf web1",
    ]
    assert text.get_content().splitlines()[2:6] == facts
    assert '<html lang="de">' in html.get_content()
    assert "In DevFlow öffnen" in html.get_content()
    assert channels.row(channel).message["title"] == title  # as it was, for who reads it in another language


def test_a_mail_goes_over_tls_from_the_start(channels: Channels, authority: Authority) -> None:
    with mail_server(authority.context("localhost"), starttls=False, user="u", password="p") as box:
        row = send(channels, box, encryption="tls", user="u", password="p")
    assert (row.status, row.error) == ("sent", "")
    assert box.logins == [("u", "p")]
    assert len(box.mails) == 1


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_an_unknown_authority_is_refused(channels: Channels, tmp_path: Path, encryption: str) -> None:
    context = make_authority(tmp_path).context("localhost")
    with mail_server(context, starttls=encryption == "starttls", user="u", password="p") as box:
        row = send(channels, box, encryption=encryption, user="u", password="p")
    assert row.status == "failed"
    assert "certificate of localhost is not valid" in row.error
    assert (box.mails, box.logins) == ([], [])


def test_a_certificate_for_another_name_is_refused(channels: Channels, authority: Authority) -> None:
    with mail_server(authority.context("mail.example.com")) as box:
        row = send(channels, box)
    assert row.status == "failed"
    assert "certificate of localhost is not valid" in row.error


def test_a_server_without_starttls_gets_nothing(channels: Channels) -> None:
    """Encryption that is set is not left out because somebody on the way says that there is none."""
    with mail_server() as box:
        row = send(channels, box)
    assert row.status == "failed"
    assert "cannot do what is set here" in row.error
    assert box.mails == []


def test_a_server_without_encryption_may_be_used_without_a_password(channels: Channels) -> None:
    with mail_server() as box:
        row = send(channels, box, encryption="none")
    assert (row.status, row.error) == ("sent", "")
    with pytest.raises(InvalidError) as caught:
        send(channels, box, encryption="none", user="u", password="p")
    assert "settings.encryption" in caught.value.errors


def test_a_wrong_password_is_refused_for_good(channels: Channels, authority: Authority) -> None:
    with mail_server(authority.context("localhost"), user="u", password="right") as box:
        row = send(channels, box, user="u", password="wrong-password")
    assert (row.status, row.response_status) == ("failed", 535)
    assert "wrong-password" not in row.error


@pytest.mark.parametrize(
    ("answer", "status", "code"), [("550 No such user", "failed", 550), ("451 Greylisted", "pending", 451)]
)
def test_refused_recipients_are_for_good_or_for_now(channels: Channels, answer: str, status: str, code: int) -> None:
    with mail_server() as box:
        box.refusals = {"ada@example.com": answer}
        row = send(channels, box, encryption="none")
    assert (row.status, row.response_status) == (status, code)
    assert answer[:3] in row.error
    assert answer[4:] in row.error


def test_who_was_refused_is_named_and_the_others_get_it(channels: Channels) -> None:
    with mail_server() as box:
        box.refusals = {"gone@example.com": "550 No such user"}
        row = send(channels, box, encryption="none", to=["ada@example.com", "gone@example.com"])
    assert (row.status, row.error) == ("sent", "Not taken: gone@example.com.")
    assert box.recipients == [["ada@example.com"]]


@pytest.mark.parametrize(
    ("answer", "status", "code"), [("552 Too big", "failed", 552), ("421 Going away", "pending", 421)]
)
def test_a_refused_mail_is_for_good_or_for_now(channels: Channels, answer: str, status: str, code: int) -> None:
    with mail_server() as box:
        box.answer = answer
        row = send(channels, box, encryption="none")
    assert (row.status, row.response_status) == (status, code)


def test_no_server_is_for_now(channels: Channels) -> None:
    with mail_server() as box:
        port = box.port
    row = send(channels, Mailbox(port=port), encryption="none")
    assert row.status == "pending"
    assert row.error.startswith("localhost cannot be reached")


def test_what_is_no_mail_server_is_no_fault_of_the_panel(channels: Channels) -> None:
    with receiver() as web:
        web.released.set()
        row = send(channels, Mailbox(port=web.port), encryption="none")
    assert row.status == "pending"
    assert row.error.startswith("localhost ")


def test_a_private_mail_server_is_refused(channels: Channels, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    with mail_server() as box:
        row = send(channels, box, encryption="none")
    assert (row.status, box.mails) == ("failed", [])
    assert "DEVFLOW_ALLOW_PRIVATE_ADDRESSES" in row.error


def test_the_panels_own_server_is_its_operators_choice(
    channels: Channels, authority: Authority, settings: Settings
) -> None:
    """EMAIL_URL is not a user's word: it may be private."""
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    with mail_server(authority.context("localhost"), user="panel", password="its own") as box:
        settings.HAS_MAIL = True
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "localhost", box.port, True
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "panel", "its own"
        settings.DEFAULT_FROM_EMAIL = "DevFlow Pro <devflow@panel.example.org>"
        row = send(channels, box, host="", port="", sender="")
    assert (row.status, row.error) == ("sent", "")
    assert box.mails[0]["From"] == "DevFlow Pro <devflow@panel.example.org>"


def test_without_any_server_the_channel_is_refused(channels: Channels, settings: Settings) -> None:
    settings.HAS_MAIL = False
    with pytest.raises(InvalidError) as caught:
        channels.add("email", settings={"to": "ada@example.com"})
    assert "EMAIL_URL" in caught.value.errors["settings.host"]


@contextmanager
def dripping(first: bytes, drop: bytes, answers: dict[bytes, bytes] | None = None) -> Iterator[Mailbox]:
    """A server that begins with `first`, answers what begins with a key of `answers`, and then drips for ever."""
    ended = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                self.wfile.write(first)
                while answers and (line := self.rfile.readline()):
                    if line[:4].upper() == b"QUIT":
                        break
                    self.wfile.write(next((said for begin, said in answers.items() if line.startswith(begin)), b""))
                while not ended.wait(0.2):
                    self.wfile.write(drop)
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Mailbox(port=server.server_address[1])
        finally:
            ended.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """All that mails have, for one second each."""
    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(email, "_THREADS", threads)
        monkeypatch.setattr(email, "_DEADLINE_SECONDS", 1.0)
        yield threads


@pytest.mark.parametrize(
    ("encryption", "first", "drop"),
    [
        ("none", b"", b"220-x\r\n"),
        ("none", b"220-", b"x"),
        ("tls", b"\x16\x03\x03\x40\x00", b"\x02"),
        ("starttls", b"220 x\r\n", b"250-x\r\n"),
    ],
)
def test_a_server_that_drips_for_ever_holds_no_thread(
    channels: Channels, one_thread: ThreadPoolExecutor, encryption: str, first: bytes, drop: bytes
) -> None:
    with dripping(first, drop) as box:
        began = time.monotonic()
        row = send(channels, box, encryption=encryption)
        one_thread.submit(int).result(timeout=1)
        assert time.monotonic() - began < 10
    assert (row.status, row.error) == ("pending", "The mail server did not answer in time.")


def test_a_mail_that_was_taken_is_sent_though_the_server_does_not_end(
    channels: Channels, one_thread: ThreadPoolExecutor
) -> None:
    answers = {b"ehlo": b"250 x\r\n", b"mail": b"250 x\r\n", b"rcpt": b"250 x\r\n", b"data": b"354 x\r\n"}
    answers |= {word.upper(): said for word, said in answers.items()} | {b".\r\n": b"250 taken\r\n"}
    with dripping(b"220 x\r\n", b"221-x\r\n", answers) as box:
        row = send(channels, box, encryption="none")
        one_thread.submit(int).result(timeout=1)
    assert (row.status, row.error) == ("sent", "")


def test_a_thread_that_comes_too_late_sends_nothing(channels: Channels, one_thread: ThreadPoolExecutor) -> None:
    with mail_server() as box:
        one_thread.submit(time.sleep, 2)
        row = send(channels, box, encryption="none")
        one_thread.submit(int).result(timeout=10)
    assert (row.status, row.error, box.mails) == ("pending", "The mail server did not answer in time.", [])
