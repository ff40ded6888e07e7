"""Every model is a team's, so that a query that names no team fails, or is not, and it is said why."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import models
from django_scopes import scope
from django_scopes.exceptions import ScopeError

from tests.support.shop import Shop

OF_NO_TEAM = {
    "User": "a person, who can be in several teams",
    "Team": "the team itself; it is reached by way of a membership",
    "SetupToken": "of the panel, before there is a team",
    "PanelKey": "of the panel",
    "PushKey": "of the panel, for push services",
    "RateWindow": "counts by token, person and address, and tells nothing of them",
    "Chain": "of the panel: the ends of the audit log's chains, also that of no team",
    "Device": "a person's: the browsers that they logged in with",
}
MODELS = [model for model in apps.get_models() if model.__module__.startswith("devflow.")]
OF_TEAMS = [model for model in MODELS if model.__name__ not in OF_NO_TEAM]


def name_of(model: type[models.Model]) -> str:
    return model.__name__


@pytest.mark.parametrize("model", OF_TEAMS, ids=name_of)
def test_a_query_that_names_no_team_fails(model: type[models.Model]) -> None:
    """A new model has `team` and `objects = ScopedManager(team="team")`, or says above why not."""
    manager = model._default_manager
    for query in (
        manager.all,
        manager.count,
        manager.first,
        lambda: manager.filter(pk=None),
        lambda: manager.get(pk=1),
    ):
        with pytest.raises(ScopeError):
            query()


@pytest.mark.parametrize("model", OF_TEAMS, ids=name_of)
def test_a_query_finds_what_is_the_teams_only(model: type[models.Model], shop: Shop) -> None:
    with scope(team=shop.team):
        statement = str(model._default_manager.all().query)
    assert f'"team_id" = {shop.team.pk}' in statement


@pytest.mark.parametrize("model", [model for model in MODELS if model.__name__ in OF_NO_TEAM], ids=name_of)
def test_what_is_of_no_team_refers_to_none(model: type[models.Model]) -> None:
    of_teams = set(OF_TEAMS)
    assert [field.name for field in model._meta.fields if field.related_model in of_teams] == []


def test_the_exceptions_are_there() -> None:
    assert OF_NO_TEAM.keys() <= {model.__name__ for model in MODELS}
