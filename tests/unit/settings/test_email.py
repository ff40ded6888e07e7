"""`EMAIL_URL`."""

from __future__ import annotations

import pytest

from devflow.settings.email import email_settings
from devflow.settings.env import ConfigError


def test_nothing_is_sent_without_an_address() -> None:
    assert email_settings(None) == {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}


def test_a_whole_address() -> None:
    assert email_settings("smtp://panel%40example.org:p%2Fw@mail.example.org:2525") == {
        "EMAIL_HOST": "mail.example.org",
        "EMAIL_PORT": 2525,
        "EMAIL_HOST_USER": "panel@example.org",
        "EMAIL_HOST_PASSWORD": "p/w",
        "EMAIL_TIMEOUT": 10,
        "EMAIL_USE_TLS": True,
    }


def test_the_port_follows_the_encryption() -> None:
    assert email_settings("smtps://mail")["EMAIL_PORT"] == 465
    assert email_settings("smtp+plain://mail")["EMAIL_PORT"] == 25


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail", "smtp://", "smtp", "smtp://[", "smtp://h:99999"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="EMAIL_URL"):
        email_settings(url)
