"""The form of an environment's hooks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.hooks import MOST_HOOKS, WHENS, hook_add
from devflow.apps.projects.models import Environment
from devflow.apps.projects.places import places_of
from devflow.engine.hooks import HOOK_PHASES
from devflow.web.forms.base import PanelForm, code_area
from devflow.web.looks import word


class HookForm(PanelForm):
    when = forms.ChoiceField(label=_("When"), choices=[(when, when) for when in WHENS])
    what = forms.ChoiceField(label=_("Phase or step"))
    command = forms.CharField(
        label=_("Command"),
        max_length=10_000,
        widget=code_area(3),
        help_text=_(
            "Shell text, run in the release's folder with the variables. It fails the deployment where it fails."
        ),
    )
    where = forms.ChoiceField(
        label=pgettext_lazy("on which servers", "On"),
        choices=[("all", _("all servers")), ("first", _("the first server alone"))],
    )
    place = forms.IntegerField(required=False, min_value=0, max_value=MOST_HOOKS, widget=forms.HiddenInput)

    def __init__(self, *args: Any, environment: Environment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        recipe = environment.project.recipe or environment.detected.get("recipe", "")
        phases = [phase.value for phase in HOOK_PHASES]
        steps = [place for place in places_of(recipe, environment.strategy) if place not in phases]
        grouped = [
            (_("Phases"), [(name, word("phase", name)) for name in phases]),
            (_("Steps"), [(name, name) for name in steps]),
        ]
        self.fields["what"].choices = grouped  # type: ignore[attr-defined]
        self.initial = {"when": "before", "what": "activate", "where": "all"}
        if not recipe:
            self.fields["what"].help_text = _("The recipe's own steps are here as soon as the recipe is known.")
        self.environment = environment

    def save(self, actor: Actor) -> Environment | None:
        return self.submit(hook_add, actor=actor, environment=self.environment, **self.cleaned_data)
