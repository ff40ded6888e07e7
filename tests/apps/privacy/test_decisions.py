"""Somebody decided about every table: whose data it holds, how it is exported, how it is deleted."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import BinaryField
from django_scopes import scopes_disabled

from devflow.apps.privacy.decisions import TABLES
from devflow.core.names import uuid7

MODELS = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
DECIDED = [pytest.param(name, id=name) for name in TABLES if name in MODELS]


def test_somebody_decided_about_every_table(db: None) -> None:
    """Whoever adds a table adds a line to apps/privacy/decisions.py."""
    assert set(connection.introspection.table_names()) == set(TABLES)


@pytest.mark.parametrize("table", DECIDED)
def test_what_was_decided_can_be_asked_for(db: None, table: str) -> None:
    decision, model = TABLES[table], MODELS[table]
    lookups = [*decision.person, *filter(None, [decision.project, decision.team])]
    with scopes_disabled():
        for lookup in lookups:
            assert not model._base_manager.filter(**{lookup: uuid7()}).exists()
    assert set(decision.omit) <= {field.name for field in model._meta.concrete_fields}


@pytest.mark.parametrize("table", DECIDED)
def test_what_is_a_teams_or_a_persons_by_its_columns_is_exported_with_them(table: str) -> None:
    """A column that refers to a person, a project or a team has a way from there, but where somebody says who it is
    that something was made by."""
    decision, model = TABLES[table], MODELS[table]
    names = {field.name for field in model._meta.concrete_fields}
    if "team" in names and decision.of != "person" and table != "accounts_idempotencykey":
        assert decision.team
    if "user" in names and table != "servers_server":  # there it is the login name on the server
        assert "user" in decision.person
    if "project" in names:
        assert decision.project


def test_no_secret_column_is_exported_in_clear() -> None:
    words = ("digest", "password", "secret", "session_key", "hook_token")
    exported = [
        f"{table}.{field.name}"
        for table, model in MODELS.items()
        for field in model._meta.concrete_fields
        if (decision := TABLES[table]) and (decision.person or decision.project or decision.team)
        if field.name not in decision.omit and not isinstance(field, BinaryField)
        if any(word in field.name for word in words) and table not in ("audit_event", "sources_delivery")
    ]
    assert exported == ["accounts_team.requires_second_factor"] or exported == []


def test_a_lookup_that_is_wrong_would_be_seen(db: None) -> None:
    with pytest.raises(FieldError), scopes_disabled():
        MODELS["accounts_team"]._base_manager.filter(nobody=1).exists()
