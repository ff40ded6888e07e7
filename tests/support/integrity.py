"""What must hold of the rows of all teams, whatever was asked of the panel."""

from __future__ import annotations

from functools import cache

from django.apps import apps
from django.db import connection, models


def team_models() -> list[type[models.Model]]:
    """The panel's models whose rows are a team's."""
    ours = [model for model in apps.get_models() if model.__module__.startswith("devflow.")]
    return [model for model in ours if any(field.name == "team" for field in model._meta.fields)]


def crossings() -> list[str]:
    """References of a row of one team to a row of another: there must be none."""
    with connection.cursor() as cursor:
        cursor.execute(_statement())
        return [name for (name,) in cursor.fetchall()]


@cache
def _statement() -> str:
    """One statement for all references among the models of teams."""
    scoped = set(team_models())
    parts = []
    for model in scoped:
        table = model._meta.db_table
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey) and field.related_model in scoped:
                there = field.related_model._meta.db_table
                parts.append(
                    f"SELECT '{model.__name__}.{field.name}' FROM {table} a "
                    f"JOIN {there} b ON a.{field.column} = b.id WHERE a.team_id <> b.team_id"
                )
        for relation in model._meta.many_to_many:
            if relation.related_model in scoped:
                between, there = relation.m2m_db_table(), relation.related_model._meta.db_table
                parts.append(
                    f"SELECT '{model.__name__}.{relation.name}' FROM {table} a "
                    f"JOIN {between} m ON m.{relation.m2m_column_name()} = a.id "
                    f"JOIN {there} b ON m.{relation.m2m_reverse_name()} = b.id WHERE a.team_id <> b.team_id"
                )
    return " UNION ALL ".join(sorted(parts))
