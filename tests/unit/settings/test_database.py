"""Addresses of databases as Django's settings."""

from __future__ import annotations

from devflow.settings.database import connection_settings, replica_settings

TWO = "postgresql://devflow:x%40y@db1:5432,db2:5433/panel?target_session_attrs=read-write&connect_timeout=9"


def test_several_hosts_with_what_libpq_is_told() -> None:
    named, options = connection_settings(TWO)
    assert named == {"NAME": "panel", "USER": "devflow", "PASSWORD": "x@y", "HOST": "db1,db2", "PORT": "5432,5433"}
    assert options["target_session_attrs"] == "read-write"
    assert options["connect_timeout"] == "9"  # what the address says goes before our own
    assert options["tcp_user_timeout"] == "10000"


def test_nobody_waits_long_for_a_replica() -> None:
    assert replica_settings(TWO, connections=8)["OPTIONS"]["connect_timeout"] == "2"
