"""Variables: base and own, kinds, history, what is required, and who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments.variables import secrets_of
from devflow.apps.projects import variables
from devflow.apps.projects.models import Variable, VariableChange
from devflow.core.crypto import Vault
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop


def put(shop: Shop, values: dict[str, str], **given: Any) -> None:
    place = given if "project" in given or "environment" in given else {"environment": shop.environment, **given}
    variables.variables_set(actor=shop.actor(), values=values, **place)


def in_force(shop: Shop, **place: Any) -> dict[str, str]:
    return variables.variable_values(actor=shop.actor(), **(place or {"environment": shop.environment}))


# --- base and own -----------------------------------------------------------------------------------------------------


def test_an_environments_own_is_before_the_projects(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    put(shop, {"A": "base", "B": "base"}, project=shop.project)
    put(shop, {"B": "own", "C": "own"})
    assert in_force(shop) == {"A": "base", "B": "own", "C": "own"}
    assert in_force(shop, environment=staging) == {"A": "base", "B": "base"}
    assert in_force(shop, project=shop.project) == {"A": "base", "B": "base"}
    rows = variables.variable_list(actor=shop.actor(), environment=shop.environment)
    assert [(row.key, row.origin) for row in rows] == [("A", "base"), ("B", "overrides"), ("C", "own")]
    base = variables.variable_list(actor=shop.actor(), project=shop.project)
    assert [(row.key, row.overridden_in) for row in base] == [("A", ()), ("B", ("production",))]


def test_another_teams_person_sees_none(shop: Shop) -> None:
    put(shop, {"A": "base"}, project=shop.project)
    assert variables.variable_list(actor=shop.actor("stranger"), project=shop.project) == []


def test_removing_an_own_one_brings_the_base_back(shop: Shop) -> None:
    put(shop, {"A": "base"}, project=shop.project)
    put(shop, {"A": "own"})
    variables.variable_unset(actor=shop.actor(), environment=shop.environment, key="A")
    assert in_force(shop) == {"A": "base"}
    with pytest.raises(NotFoundError, match="There is no variable 'A' in shop production"):
        variables.variable_unset(actor=shop.actor(), environment=shop.environment, key="A")
    variables.variable_unset(actor=shop.actor(), project=shop.project, key="A")
    with pytest.raises(NotFoundError, match="the base variables of shop"):
        variables.variable_unset(actor=shop.actor(), project=shop.project, key="A")
    assert in_force(shop) == {}


def test_differences_count_the_base_in(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    put(shop, {"A": "1", "B": "1"}, project=shop.project)
    put(shop, {"B": "2", "C": "1"})
    put(shop, {"A": "1", "D": "1"}, environment=staging)
    found = variables.variable_diff(actor=shop.actor(Role.VIEWER), here=shop.environment, there=staging)
    assert [(one.key, one.state) for one in found] == [("B", "changed"), ("C", "only here"), ("D", "only there")]


# --- kinds ------------------------------------------------------------------------------------------------------------


def kinds(shop: Shop) -> dict[str, str]:
    with scope(team=shop.team):
        return dict(Variable.objects.values_list("key", "kind"))


def test_a_kind_is_kept_until_another_is_asked_for(shop: Shop) -> None:
    put(shop, {"A": "1", "B": "1\n2"})
    put(shop, {"C": "1"}, kind="text")
    put(shop, {"D": "1"}, kind="file")
    assert kinds(shop) == {"A": "secret", "B": "multiline", "C": "text", "D": "file"}
    put(shop, dict.fromkeys("ABCD", "2"))
    assert kinds(shop) == {"A": "secret", "B": "multiline", "C": "text", "D": "file"}
    put(shop, dict.fromkeys("ABCD", "2\n3"))
    assert kinds(shop) == {"A": "multiline", "B": "multiline", "C": "multiline", "D": "file"}
    put(shop, {"A": "2"}, kind="secret")
    assert kinds(shop)["A"] == "secret"


@pytest.mark.parametrize(
    ("kind", "value"), [("text", "a\nb"), ("secret", "a\n"), ("nonsense", "a"), ("file", "x" * 100_001)]
)
def test_values_that_do_not_go_with_their_kind(shop: Shop, kind: str, value: str) -> None:
    with pytest.raises(InvalidError):
        put(shop, {"GOOD": "1", "KEY": value}, kind=kind)
    assert in_force(shop) == {}


def test_an_import_brings_kinds_and_replaces_names(shop: Shop) -> None:
    put(shop, {"ZONE": "example.com"}, project=shop.project)
    text = "NAME=shop\nURL=https://${NAME}.${ZONE}\nMODE=live # devflow: text\nPEM='x' # devflow: file\n"
    variables.variables_import(actor=shop.actor(), environment=shop.environment, text=text)
    assert in_force(shop)["URL"] == "https://shop.example.com"
    assert kinds(shop) == {"ZONE": "secret", "NAME": "secret", "URL": "secret", "MODE": "text", "PEM": "file"}
    exported = variables.variables_export(actor=shop.actor(), environment=shop.environment, is_own=True)
    staging = shop.add_environment("staging")
    variables.variables_import(actor=shop.actor(), environment=staging, text=exported)
    assert variables.variable_diff(actor=shop.actor(), here=shop.environment, there=staging) == []


def test_a_masked_value_goes_into_others_as_it_is(shop: Shop) -> None:
    put(shop, {"PASSWORD": "s3cret"})
    text = f"PASSWORD={variables.MASK}\nURL=postgres://u:${{PASSWORD}}@h/d\n"
    variables.variables_import(actor=shop.actor(), environment=shop.environment, text=text, is_whole=True)
    assert in_force(shop) == {"PASSWORD": "s3cret", "URL": "postgres://u:s3cret@h/d"}


def test_only_plain_text_is_revealed(shop: Shop) -> None:
    put(shop, {"MODE": "live"}, kind="text")
    put(shop, {"KEY": "secret"})
    assert variables.variable_reveal(actor=shop.actor(), environment=shop.environment, key="MODE") == "live"
    with pytest.raises(ConflictError, match="never shown here"):
        variables.variable_reveal(actor=shop.actor(), environment=shop.environment, key="KEY")
    with pytest.raises(ForbiddenError):
        variables.variable_reveal(actor=shop.actor(Role.DEVELOPER), environment=shop.environment, key="MODE")


# --- history ----------------------------------------------------------------------------------------------------------


def test_every_change_is_kept_with_who_and_what(shop: Shop) -> None:
    put(shop, {"A": "1"})
    put(shop, {"A": "1"})  # changes nothing
    put(shop, {"A": "2"}, kind="text")
    variables.variable_unset(actor=shop.actor(), environment=shop.environment, key="A")
    found = variables.variable_history(actor=shop.actor(Role.VIEWER), environment=shop.environment)
    assert [(change.value, change.kind, change.is_removal) for change in found] == [
        ("2", "text", True),
        ("2", "text", False),
        ("1", "secret", False),
    ]
    assert {change.changed_by for change in found} == {shop.actor().user}
    with scope(team=shop.team):
        assert all(len(bytes(change.value_sealed)) > 20 for change in VariableChange.objects.all())
    variables.variable_restore(actor=shop.actor(), environment=shop.environment, change_id=str(found[-1].pk))
    assert (in_force(shop), kinds(shop)) == ({"A": "1"}, {"A": "secret"})


def test_the_history_of_one_place_is_not_anothers(shop: Shop) -> None:
    put(shop, {"A": "1"})
    (change,) = variables.variable_history(actor=shop.actor(), environment=shop.environment)
    assert variables.variable_history(actor=shop.actor(), project=shop.project) == []
    for place in ({"project": shop.project}, {"environment": shop.add_environment("staging")}):
        with pytest.raises(NotFoundError):
            variables.variable_restore(actor=shop.actor(), change_id=str(change.pk), **place)  # type: ignore[arg-type]
    with pytest.raises(ForbiddenError):
        variables.variable_restore(
            actor=shop.actor(Role.DEVELOPER), environment=shop.environment, change_id=str(change.pk)
        )


def test_what_was_changed_since(shop: Shop) -> None:
    before = timezone.now()
    put(shop, {"A": "1"}, project=shop.project)
    put(shop, {"B": "1"})
    put(shop, {"C": "1"}, environment=shop.add_environment("staging"))
    variables.variable_unset(actor=shop.actor(), environment=shop.environment, key="B")
    with scope(team=shop.team):
        assert variables.variables_changed_since(shop.environment, before) == ["A", "B"]
        assert variables.variables_changed_since(shop.environment, timezone.now() + timedelta(seconds=1)) == []


# --- what is required -------------------------------------------------------------------------------------------------


def test_what_is_required_and_nobody_has_set(shop: Shop) -> None:
    put(shop, {"A": ""}, project=shop.project)
    put(shop, {"B": "1"})
    with scope(team=shop.team):
        assert variables.variables_missing(shop.environment) == []
        assert variables.variables_missing(shop.environment, {"required": ["A", "C", "B", "D"]}) == ["C", "D"]


# --- a value that cannot be opened ------------------------------------------------------------------------------------


def test_a_value_of_another_master_key_is_named_and_can_be_replaced(shop: Shop) -> None:
    put(shop, {"A": "one", "B": "two", "C": "three"})
    other = Vault(bytes(range(32)))
    with scope(team=shop.team):
        for lost in Variable.objects.filter(key__in="BC"):
            lost.value_sealed = other.seal(b"two", Variable.value.context(Variable, lost.pk))
            lost.save()
        with pytest.raises(ConflictError, match="The value of B cannot be opened"):
            secrets_of(shop.environment)
    who = {"actor": shop.actor(), "environment": shop.environment}
    for read in (variables.variables_export, variables.variable_values):
        with pytest.raises(ConflictError, match="The value of B cannot be opened"):
            read(**who)
    assert variables.variables_preview(text="B=2", **who) == [variables.PlannedChange("B", "changed")]
    staging = shop.add_environment("staging")
    put(shop, {"A": "one", "B": "two"}, environment=staging)
    here = {"actor": shop.actor(), "here": shop.environment, "there": staging}
    assert [(row.key, row.state) for row in variables.variable_diff(**here)] == [("B", "changed"), ("C", "only here")]
    put(shop, {"B": "anew"})
    variables.variable_unset(key="C", **who)
    assert in_force(shop) == {"A": "one", "B": "anew"}
