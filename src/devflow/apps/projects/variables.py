"""Variables: of an environment, or of all environments of a project (base), where the environment's own wins.

Functions take `environment`, or `project` for its base variables.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.projects.models import Environment, Project, Variable, VariableChange
from devflow.apps.sealed import vault
from devflow.core import dotenv, names
from devflow.core.crypto import SealError
from devflow.core.errors import ConflictError, InvalidError, NotFoundError

SECRET = "secret"
LARGEST_BYTES = 100_000
"""Linux gives a program no variable of 128 KB or more."""
MASK = "••••••••"
"""Stands for a value that is not shown."""
DRAFT_SECONDS = 15 * 60
_ONE_LINE = ("text", SECRET)
_IMPORTED_MARKS = ("text", "multiline", "file")


@dataclass(frozen=True, slots=True)
class VariableRow:
    """A variable in force in an environment, and where it is from: `base` (the project's), `own`, or `overrides` a base
    variable. In the list of base variables `overridden_in` names the environments that have their own instead."""

    variable: Variable
    origin: Literal["base", "own", "overrides"]
    overridden_in: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.variable.key


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What an import would do to a variable; values are not told."""

    key: str
    state: Literal["added", "changed", "removed", "unchanged"]


@dataclass(frozen=True, slots=True)
class VariableDifference:
    """A variable in which two environments differ; their values are not told."""

    key: str
    state: Literal["changed", "only here", "only there"]


# --- writes -----------------------------------------------------------------------------------------------------------


def variables_set(
    *,
    actor: Actor,
    values: Mapping[str, str],
    environment: Environment | None = None,
    project: Project | None = None,
    kind: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> None:
    """Adds or changes variables, all or none; they take effect with the next deployment.

    Without a `kind` (or one of its own in `kinds`) a variable keeps the one it has, and a new one is a secret, or
    multiline where its value is. Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, environment or project)
    of_project, environment = _place(project, environment)
    with transaction.atomic(), scope(team=actor.team):
        # one writer at a time: of two that add the same key the second changes the first's
        if not Project.objects.select_for_update().filter(pk=of_project.pk).exists():
            raise NotFoundError("This project was removed.")
        found = Variable.objects.filter(project=of_project, environment=environment)
        present = {variable.key: variable for variable in found}
        changed = []
        for key, value in values.items():
            names.variable(key)
            variable = present.get(key)
            wanted = (kinds or {}).get(key) or kind or None
            checked = _kind(wanted, key, value, variable.kind if variable else SECRET)
            if variable and variable.kind == checked and _holds(variable, value):
                continue
            variable = variable or Variable(team=actor.team, project=of_project, environment=environment, key=key)
            variable.kind, variable.value = checked, value
            variable.save()
            _record(actor, variable)
            changed.append(variable)
        if changed:
            _audit(actor, "variable.set", of_project, environment, changed)


def variables_import(
    *,
    actor: Actor,
    text: str,
    environment: Environment | None = None,
    project: Project | None = None,
    kind: str | None = None,
    is_whole: bool = False,
    removes: Collection[str] | None = None,
) -> list[str]:
    """Sets the variables of a `.env` text and returns their keys; `${NAME}` is replaced by what the text says above, or
    else by the variable in force. A value that is MASK stays as it is. What a text that `is_whole` does not name is
    removed; only what is in `removes`, where that is given: others stay. Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, environment or project)
    entries, own = _imported(actor, text, environment, project)
    values = {entry.key: value for entry, value in entries if value != MASK}
    kinds = {entry.key: entry.mark for entry, _ in entries if entry.mark in _IMPORTED_MARKS}
    with transaction.atomic():
        variables_set(
            actor=actor, environment=environment, project=project, values=values, kind=kind, kinds={} if kind else kinds
        )
        if is_whole:
            gone = own.keys() - {entry.key for entry, _ in entries}
            for key in sorted(gone if removes is None else gone & set(removes)):
                variable_unset(actor=actor, key=key, environment=environment, project=project)
    return list(values)


def variables_preview(
    *,
    actor: Actor,
    text: str,
    environment: Environment | None = None,
    project: Project | None = None,
    is_whole: bool = False,
) -> list[PlannedChange]:
    """What `variables_import` would do, by key, without doing it. Raises ForbiddenError, InvalidError."""
    actor.require(rights.MANAGE, environment or project)
    entries, own = _imported(actor, text, environment, project)
    planned = [PlannedChange(entry.key, _planned(own.get(entry.key), value)) for entry, value in entries]
    for entry, value in entries:
        present = own.get(entry.key)
        _kind(
            entry.mark if entry.mark in _IMPORTED_MARKS else None, entry.key, value, present.kind if present else SECRET
        )
    named = {change.key for change in planned}
    if is_whole:
        planned += [PlannedChange(key, "removed") for key in own if key not in named]
    return sorted(planned, key=lambda change: change.key)


def draft_seal(*, actor: Actor, text: str, place: str, removes: Collection[str] = ()) -> str:
    """A text with secrets, and what it `removes`, for a page that asks once more before it is imported: only this
    person's panel can open it, for DRAFT_SECONDS, and only at this `place`."""
    sealed = vault().seal(json.dumps([time.time(), text, [*removes]]).encode(), _draft_context(actor, place))
    return base64.urlsafe_b64encode(sealed).decode()


def draft_open(*, actor: Actor, sealed: str, place: str) -> tuple[str, list[str]]:
    """The text of `draft_seal`, and what it removes. Raises InvalidError."""
    try:
        opened = vault().open(base64.urlsafe_b64decode(sealed.encode()), _draft_context(actor, place))
        sealed_at, text, removes = json.loads(opened)
    except (SealError, ValueError):
        raise InvalidError("This preview cannot be read any more. Paste the lines again.") from None
    if time.time() - sealed_at > DRAFT_SECONDS:
        raise InvalidError("This preview is too old. Paste the lines again.")
    return text, removes


def _draft_context(actor: Actor, place: str) -> bytes:
    return f"variables-draft:{actor.user.pk}:{actor.team.pk}:{place}".encode()


def _imported(
    actor: Actor, text: str, environment: Environment | None, project: Project | None
) -> tuple[list[tuple[dotenv.Entry, str]], dict[str, Variable]]:
    """What a text says, and the variables that are set here already. Raises InvalidError."""
    of_project, environment = _place(project, environment)
    known = _clear(_found(actor, of_project, environment)) if "${" in text else {}
    entries = dotenv.expanded(text, known, stays=MASK)
    with scope(team=actor.team):
        found = Variable.objects.filter(project=of_project, environment=environment)
        own = {variable.key: variable for variable in found}
    for entry, value in entries:
        if value == MASK and entry.key not in own:
            message = f"{entry.key} has no value yet that could stay as it is."
            raise InvalidError(message, {"text": message})
    return entries, own


def _planned(present: Variable | None, value: str) -> Literal["added", "changed", "unchanged"]:
    if present is None:
        return "added"
    return "unchanged" if value == MASK or _holds(present, value) else "changed"


def variable_unset(
    *, actor: Actor, key: str, environment: Environment | None = None, project: Project | None = None
) -> None:
    """Raises NotFoundError, ForbiddenError."""
    actor.require(rights.MANAGE, environment or project)
    of_project, environment = _place(project, environment)
    with transaction.atomic(), scope(team=actor.team):
        found = Variable.objects.select_for_update().filter(project=of_project, environment=environment)
        variable = found.filter(key=key).first() if "\x00" not in key else None
        if variable is None:
            where = "the base variables of " if environment is None else ""
            raise NotFoundError(f"There is no variable {key!r} in {where}{environment or of_project.slug}.")
        _record(actor, variable, is_removal=True)
        _audit(actor, "variable.removed", of_project, environment, [variable])
        variable.delete()


def variable_restore(
    *, actor: Actor, change_id: str, environment: Environment | None = None, project: Project | None = None
) -> VariableChange:
    """Sets a variable to the value that this change gave it, or took away. Raises NotFoundError, ForbiddenError."""
    actor.require(rights.MANAGE, environment or project)
    of_project, environment = _place(project, environment)
    with scope(team=actor.team):
        found = VariableChange.objects.filter(project=of_project, environment=environment)
        change = found.filter(pk=change_id).first() if _is_uuid(change_id) else None
    if change is None:
        raise NotFoundError(f"There is no change {change_id!r} of these variables.")
    variables_set(
        actor=actor, project=project, environment=environment, values={change.key: change.value}, kind=change.kind
    )
    return change


# --- reads ------------------------------------------------------------------------------------------------------------


def variables_in_force(environment: Environment) -> dict[str, Variable]:
    """What a deployment writes, by key: base variables, the environment's own before them. Within a team's scope."""
    found = Variable.objects.filter(project=environment.project_id)
    ours = found.filter(Q(environment=None) | Q(environment=environment))
    base_first = sorted(ours, key=lambda variable: (variable.key, variable.environment_id is not None))
    return {variable.key: variable for variable in base_first}


def value_of(variable: Variable) -> str:
    """The value in clear. Raises ConflictError where the master key does not open it."""
    try:
        return str(variable.value)
    except SealError:
        raise ConflictError(
            f"The value of {variable.key} cannot be opened with the panel's master key. Set it anew, or remove it; or "
            "put the right key back."
        ) from None


def variable_list(
    *, actor: Actor, environment: Environment | None = None, project: Project | None = None
) -> list[VariableRow]:
    """The variables in force by key, or a project's base variables. Their `value` is in clear: ask `variable_values` or
    `variable_reveal` for what may be shown."""
    of_project, environment = _place(project, environment)
    with scope(team=actor.team):
        every = list(Variable.objects.filter(project=of_project).select_related("environment"))
    base = {variable.key for variable in every if variable.environment_id is None}
    if environment is None:
        return [_base_row(variable, every) for variable in every if variable.environment_id is None]
    own = {variable.key for variable in every if variable.environment_id == environment.pk}
    rows = []
    for variable in every:
        if variable.environment_id == environment.pk:
            rows.append(VariableRow(variable, "overrides" if variable.key in base else "own"))
        elif variable.environment_id is None and variable.key not in own:
            rows.append(VariableRow(variable, "base"))
    return rows


def variable_values(
    *,
    actor: Actor,
    environment: Environment | None = None,
    project: Project | None = None,
) -> dict[str, str]:
    """Keys and values in clear of what is in force. Raises ForbiddenError, ConflictError."""
    actor.require(rights.SEE_SECRETS, environment or project)
    of_project, environment = _place(project, environment)
    found = _found(actor, of_project, environment)
    _audit(actor, "secret.read", of_project, environment, list(found.values()))
    return _clear(found)


def variables_export(
    *, actor: Actor, environment: Environment | None = None, project: Project | None = None, is_own: bool = False
) -> str:
    """A `.env` text of what is in force, or (`is_own`) of what the environment has itself, in clear. An import of it
    gives the same variables: those that are no secrets have their kind noted behind. Raises ForbiddenError,
    ConflictError where a value cannot be opened."""
    actor.require(rights.SEE_SECRETS, environment or project)
    of_project, environment = _place(project, environment)
    found = _found(actor, of_project, environment)
    if is_own and environment is not None:
        found = {key: variable for key, variable in found.items() if variable.environment_id == environment.pk}
    _audit(actor, "secret.read", of_project, environment, list(found.values()))
    values = _clear(found)
    marks = {key: variable.kind for key, variable in found.items() if _needs_mark(variable.kind, values[key])}
    return dotenv.render(values, marks)


def variable_reveal(
    *, actor: Actor, key: str, environment: Environment | None = None, project: Project | None = None
) -> str:
    """The value of a variable of the kind text. Raises ForbiddenError, NotFoundError, ConflictError for a secret."""
    actor.require(rights.SEE_SECRETS, environment or project)
    of_project, environment = _place(project, environment)
    variable = _found(actor, of_project, environment).get(key)
    if variable is None:
        raise NotFoundError(f"There is no variable {key!r}.")
    if variable.kind != "text":
        raise ConflictError(f"{key} is no plain text; it is never shown here. An export holds it.")
    _audit(actor, "secret.read", of_project, environment, [variable])
    return value_of(variable)


def variable_diff(*, actor: Actor, here: Environment, there: Environment) -> list[VariableDifference]:
    """In which variables two environments differ, by key, those of their project included."""
    ours, theirs = (
        {key: _comparable(variable) for key, variable in _found(actor, one.project, one).items()}
        for one in (here, there)
    )
    return [
        VariableDifference(
            key, "changed" if key in ours and key in theirs else "only here" if key in ours else "only there"
        )
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def variable_history(
    *,
    actor: Actor,
    environment: Environment | None = None,
    project: Project | None = None,
    key: str = "",
    before: str = "",
    limit: int = 100,
) -> list[VariableChange]:
    """Who set or removed which variable when, the newest first; `before` is the id of the last one seen."""
    of_project, environment = _place(project, environment)
    with scope(team=actor.team):
        found = VariableChange.objects.filter(project=of_project, environment=environment).select_related("changed_by")
        if key:
            found = found.filter(key=key) if "\x00" not in key else found.none()
        if _is_uuid(before):
            found = found.filter(pk__lt=before)
        return list(found.order_by("-id")[:limit])


def variables_missing(environment: Environment, detected: Mapping[str, Any] | None = None) -> list[str]:
    """What `.env.example` of the last look (or of `detected`) requires and nobody has set. Within a team's scope."""
    wanted = (environment.detected if detected is None else detected).get("required") or []
    present = variables_in_force(environment) if wanted else {}
    return [key for key in wanted if key not in present]


def missing_list(*, actor: Actor, environment: Environment) -> list[str]:
    """The same, for somebody who looks."""
    with scope(team=actor.team):
        return variables_missing(environment)


def variables_changed_since(environment: Environment, moment: datetime) -> list[str]:
    """Keys of variables, also of the project's, that were set or removed after `moment`. Within a scope of the team."""
    changes = VariableChange.objects.filter(project=environment.project_id, changed_at__gt=moment)
    ours = changes.filter(Q(environment=None) | Q(environment=environment))
    return sorted(set(ours.values_list("key", flat=True)))


def variables_last_changed(project: Project) -> dict[UUID | None, datetime]:
    """When a variable was last set or removed, by the environment's id; None for the project's own. Within a scope."""
    changes = VariableChange.objects.filter(project=project).order_by().values_list("environment_id")
    return dict(changes.annotate(Max("changed_at")))


def _place(project: Project | None, environment: Environment | None) -> tuple[Project, Environment | None]:
    of_project = environment.project if environment is not None else project
    assert of_project is not None, "give an environment, or a project for its base variables"
    return of_project, environment


def _found(actor: Actor, project: Project, environment: Environment | None) -> dict[str, Variable]:
    with scope(team=actor.team):
        if environment is not None:
            return variables_in_force(environment)
        return {variable.key: variable for variable in Variable.objects.filter(project=project, environment=None)}


def _clear(found: Mapping[str, Variable]) -> dict[str, str]:
    return {key: value_of(variable) for key, variable in found.items()}


def _holds(variable: Variable, value: str) -> bool:
    """Whether this is the variable's value. One that cannot be opened is none: it can be set anew, and removed."""
    try:
        return bool(variable.value == value)
    except SealError:
        return False


def _comparable(variable: Variable) -> Any:
    """What tells two values apart; one that cannot be opened is like no other."""
    try:
        return variable.kind == "file", variable.value
    except SealError:
        return variable.pk


def _base_row(variable: Variable, every: list[Variable]) -> VariableRow:
    others = [other for other in every if other.key == variable.key and other.environment is not None]
    return VariableRow(variable, "own", tuple(sorted(other.environment.name for other in others if other.environment)))


def _kind(wanted: str | None, key: str, value: str, present: str) -> str:
    """The kind that the variable is to have. Raises InvalidError where the value does not go with it."""
    names.storable(value, key)
    if len(value.encode()) > LARGEST_BYTES:
        raise InvalidError(f"{key} is too long.", {key: f"A value has at most {LARGEST_BYTES:,} bytes."})
    if wanted is not None and wanted not in Variable.KINDS:
        raise InvalidError(
            f"There is no kind {wanted!r} of variables.", {"kind": f"Choose one of: {', '.join(Variable.KINDS)}."}
        )
    has_lines = "\n" in value
    if wanted in _ONE_LINE and has_lines:
        message = f"{key} has several lines. Make it multiline, or a file."
        raise InvalidError(message, {key: message})
    if wanted is None:
        return "multiline" if has_lines and present in _ONE_LINE else present
    return wanted


def _record(actor: Actor, variable: Variable, *, is_removal: bool = False) -> None:
    change = VariableChange(
        team=actor.team,
        project=variable.project,
        environment=variable.environment,
        key=variable.key,
        kind=variable.kind,
        is_removal=is_removal,
        changed_by=actor.user,
    )
    with suppress(SealError):  # of one that cannot be opened there is nothing to be kept
        change.value = variable.value
    change.save(force_insert=True)


def _audit(
    actor: Actor, action: str, project: Project, environment: Environment | None, variables: list[Variable]
) -> None:
    """One event for all of them, with their names and kinds; never with values."""
    names_told = [f"{variable.key} ({variable.kind})" for variable in variables]
    where = str(environment) if environment else f"{project.slug} (base)"
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=f"{variables[0].key if len(variables) == 1 else f'{len(variables)} variables'} of {where}",
        target_id=str((environment or project).pk),
        project_id=project.pk,
        after={"variables": names_told},
    )


def _needs_mark(kind: str, value: str) -> bool:
    """Whether an import would not come to this kind by itself."""
    return kind in _IMPORTED_MARKS and not (kind == "multiline" and "\n" in value)


def _is_uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
