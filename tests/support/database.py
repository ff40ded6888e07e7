"""Which PostgreSQL the test process works on."""

from __future__ import annotations

from django.conf import settings

from devflow.settings.database import connection_settings


def use_database(url: str) -> None:
    """Django's connections that are made from now on go to `url`."""
    settings.DATABASES["default"].update(connection_settings(url)[0])
