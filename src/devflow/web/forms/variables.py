"""Forms of variables."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.apps.projects.variables import (
    PlannedChange,
    draft_open,
    draft_seal,
    variables_import,
    variables_preview,
    variables_set,
)
from devflow.web.forms.base import PanelForm, code_line, secret_area

KINDS = {
    "": _("As it is; a new one is a secret"),
    "secret": _("Secret"),
    "text": _("Plain text, not masked in logs"),
    "multiline": _("Secret of several lines"),
    "file": _("File: the variable is a path to it"),
}


class VariableForm(PanelForm):
    key = forms.CharField(label=_("Name"), max_length=300, widget=code_line(placeholder="APP_KEY"))
    kind = forms.ChoiceField(label=_("Kind"), choices=list(KINDS.items()), required=False)
    value = forms.CharField(
        label=_("Value"),
        required=False,
        strip=False,
        widget=secret_area(3),
        help_text=_("Replaces the present one. It is never shown again, unless it is plain text."),
    )

    def save(self, actor: Actor, place: dict[str, Any]) -> bool:
        values = {self.cleaned_data["key"]: self.cleaned_data["value"].replace("\r\n", "\n")}
        self.submit(variables_set, actor=actor, values=values, kind=self.cleaned_data["kind"] or None, **place)
        return not self.errors


class ImportForm(PanelForm):
    """The lines of a `.env`, typed (`text`) or as they were shown in a preview (`draft`, sealed). Where the text is the
    `whole`, what it does not name is removed."""

    text = forms.CharField(
        label=_("Lines"),
        strip=False,
        required=False,
        widget=secret_area(6),
        help_text=_("KEY=value, one a line. Present ones of the same name are replaced."),
    )
    draft = forms.CharField(required=False, max_length=2_000_000, widget=forms.HiddenInput)
    whole = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, actor: Actor, place: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor, self._place = actor, place
        self._removes: list[str] | None = None  # what was said to be removed, where that was said

    @property
    def is_whole(self) -> bool:
        return bool(self.cleaned_data["whole"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if draft := cleaned.get("draft"):
            opened = self.submit(draft_open, actor=self._actor, sealed=draft, place=self._place)
            cleaned["text"], self._removes = opened or ("", None)
        elif not cleaned.get("text") and not cleaned.get("whole") and "text" not in self.errors:
            self.add_error("text", _("Paste at least one line."))
        return cleaned

    def preview(self, actor: Actor, place: dict[str, Any]) -> list[PlannedChange] | None:
        return self.submit(variables_preview, actor=actor, text=self._text(), is_whole=self.is_whole, **place)

    def draft_of(self, changes: list[PlannedChange]) -> str:
        """What was typed, sealed with what is told of it."""
        removes = [change.key for change in changes if change.state == "removed"]
        return draft_seal(actor=self._actor, text=self._text(), place=self._place, removes=removes)

    def save(self, actor: Actor, place: dict[str, Any]) -> list[str] | None:
        text, removes = self._text(), self._removes
        return self.submit(variables_import, actor=actor, text=text, is_whole=self.is_whole, removes=removes, **place)

    def _text(self) -> str:
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")


class RequireForm(PanelForm):
    requires_variables = forms.BooleanField(
        label=_("Fail a deployment while one is missing"),
        required=False,
        help_text=_("Otherwise the plan only says so."),
    )

    def save(self, actor: Actor, environment: Environment) -> Environment | None:
        return self.submit(environment_update, actor=actor, environment=environment, **self.cleaned_data)
