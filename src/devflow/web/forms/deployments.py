"""The form that asks for a deployment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.lines import MOST_LINES
from devflow.apps.deployments.models import Deployment, Status, Trigger
from devflow.apps.deployments.services import deployment_request
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get, environment_names
from devflow.core.errors import NotFoundError
from devflow.web.forms.base import PanelForm, code_line
from devflow.web.looks import DEPLOYMENT, word

CHOICES = 200
"""Where there are more environments than that, one is named instead of being chosen from a list."""


def _statuses() -> list[tuple[str, str]]:
    return [("", gettext("All")), *((status.value, DEPLOYMENT[status].word) for status in Status)]


def _triggers() -> list[tuple[str, str]]:
    return [("", gettext("All")), *((trigger.value, capfirst(word("trigger", trigger))) for trigger in Trigger)]


class FilterForm(PanelForm):
    """The filters of the list of deployments: they stand in the address of the page. All may be empty."""

    status = forms.ChoiceField(label=_("Status"), required=False, choices=_statuses)
    environment = forms.ChoiceField(label=_("Environment"), required=False)
    trigger = forms.ChoiceField(label=_("Begun by"), required=False, choices=_triggers)
    commit = forms.CharField(label=_("Commit"), required=False, max_length=64, widget=code_line(placeholder="01234567"))
    by = forms.CharField(label=_("Who"), required=False, max_length=100)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor = actor
        found = environment_names(actor=actor, limit=CHOICES + 1)
        if len(found) > CHOICES:
            self.fields["environment"] = forms.CharField(
                label=_("Environment"),
                required=False,
                max_length=200,
                widget=forms.TextInput(attrs={"placeholder": "project/environment"}),
            )
        else:
            named = [(key, key.replace("/", " ")) for key in found]
            self.fields["environment"].choices = [("", _("All")), *named]  # type: ignore[attr-defined]

    def clean_environment(self) -> Environment | None:
        """The environment that is named `project/environment`."""
        named: str = self.cleaned_data["environment"]
        slug, _slash, name = named.partition("/")
        try:
            return environment_get(actor=self._actor, slug=slug, name=name) if named else None
        except NotFoundError:
            raise forms.ValidationError(_("There is no environment %(named)s.") % {"named": repr(named)}) from None

    def chosen(self) -> dict[str, Any] | None:
        """What `deployment_list` takes; None where one of them is not valid, which the form then says."""
        return self.cleaned_data if self.is_valid() else None


class LinesForm(PanelForm):
    """What is asked of a log, in the address."""

    first = forms.IntegerField(required=False, min_value=1, max_value=1 << 40)
    count = forms.IntegerField(required=False, min_value=1, max_value=MOST_LINES)
    find = forms.CharField(required=False, max_length=500, strip=False)
    server = forms.CharField(required=False, max_length=63)
    ranges = forms.CharField(required=False, max_length=63)
    step = forms.CharField(required=False, max_length=40)
    error = forms.BooleanField(required=False)


HEAD = "head"


class DeployForm(PanelForm):
    """`pick` is HEAD for the branch's newest commit, or the id of one that is known; where `commit` or `branch` is
    typed, that counts instead of HEAD."""

    conflict_field = "commit"

    pick = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    commit = forms.CharField(
        label=_("Or another commit"),
        max_length=300,
        required=False,
        widget=code_line(placeholder="0123456789abcdef0123456789abcdef01234567"),
        help_text=_("The full id, as git rev-parse HEAD prints it."),
    )
    branch = forms.CharField(
        label=_("Or the newest of another branch"),
        max_length=300,
        required=False,
        widget=code_line(list="known-branches"),
        help_text=_("This once: the environment keeps its own."),
    )
    is_clean = forms.BooleanField(
        label=_("Install and build anew"),
        required=False,
        help_text=_("Nothing that was kept of earlier releases is reused."),
    )
    override_reason = forms.CharField(
        label=_("Do not wait for a window, because"),
        max_length=500,
        required=False,
        help_text=_("Kept with the deployment, and in its log."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("commit") and cleaned.get("pick") not in ("", HEAD, cleaned["commit"]):
            self.add_error("commit", _("Choose one: that of the list, or this one."))
        if cleaned.get("branch") and (cleaned.get("commit") or cleaned.get("pick") not in ("", HEAD)):
            self.add_error("branch", _("Choose one: a commit, or a branch."))
        return cleaned

    def save(self, actor: Actor, environment: Environment) -> Deployment | None:
        pick = self.cleaned_data["pick"]
        commit = self.cleaned_data["commit"] or ("" if pick == HEAD else pick)
        return self.submit(
            deployment_request,
            actor=actor,
            environment=environment,
            commit=commit,
            branch=self.cleaned_data["branch"],
            is_clean=self.cleaned_data["is_clean"],
            override_reason=self.cleaned_data["override_reason"] or None,
        )
