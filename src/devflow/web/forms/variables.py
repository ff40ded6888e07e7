"""Forms of variables."""

from __future__ import annotations

from typing import Any

from django import forms

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.apps.projects.variables import variables_import, variables_set
from devflow.web.forms.base import PanelForm, code_line, secret_area

KINDS = {
    "": "As it is; a new one is a secret",
    "secret": "Secret",
    "text": "Plain text, not masked in logs",
    "multiline": "Secret of several lines",
    "file": "File: the variable is a path to it",
}


class VariableForm(PanelForm):
    key = forms.CharField(label="Name", max_length=300, widget=code_line(placeholder="APP_KEY"))
    kind = forms.ChoiceField(label="Kind", choices=list(KINDS.items()), required=False)
    value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        widget=secret_area(3),
        help_text="Replaces the present one. It is never shown again, unless it is plain text.",
    )

    def save(self, actor: Actor, place: dict[str, Any]) -> bool:
        values = {self.cleaned_data["key"]: self.cleaned_data["value"].replace("\r\n", "\n")}
        self.submit(variables_set, actor=actor, values=values, kind=self.cleaned_data["kind"] or None, **place)
        return not self.errors


class ImportForm(PanelForm):
    text = forms.CharField(
        label="Lines",
        strip=False,
        widget=secret_area(6),
        help_text="KEY=value, one a line. Present ones of the same name are replaced.",
    )

    def save(self, actor: Actor, place: dict[str, Any]) -> list[str] | None:
        text = self.cleaned_data["text"].replace("\r\n", "\n")
        return self.submit(variables_import, actor=actor, text=text, **place)


class RequireForm(PanelForm):
    requires_variables = forms.BooleanField(
        label="Fail a deployment while one is missing",
        required=False,
        help_text="Otherwise the plan only says so.",
    )

    def save(self, actor: Actor, environment: Environment) -> Environment | None:
        return self.submit(environment_update, actor=actor, environment=environment, **self.cleaned_data)
