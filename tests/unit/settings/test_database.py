"""Addresses of databases as Django's settings."""

from __future__ import annotations

import pytest

from devflow.settings.database import connection_settings, replica_settings
from devflow.settings.env import ConfigError

TWO = "postgresql://devflow:x%40y@db1:5432,db2:5433/panel?target_session_attrs=read-write&connect_timeout=9"


def test_several_hosts_with_what_libpq_is_told() -> None:
    named, options = connection_settings(TWO)
    assert named == {"NAME": "panel", "USER": "devflow", "PASSWORD": "x@y", "HOST": "db1,db2", "PORT": "5432,5433"}
    assert options["target_session_attrs"] == "read-write"
    assert options["connect_timeout"] == "9"  # what the address says goes before our own
    assert options["tcp_user_timeout"] == "10000"


def test_nobody_waits_long_for_a_replica() -> None:
    assert replica_settings(TWO, connections=8)["OPTIONS"]["connect_timeout"] == "2"


def test_what_cannot_be_read_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match=r"^DATABASE_URL or DATABASE_REPLICA_URL is no address") as caught:
        connection_settings("postgresql://devflow:hunter2%@db/panel")
    assert "hunter2" not in str(caught.value)
