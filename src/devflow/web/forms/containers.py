"""The form of a project's disk budget."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.containers.budgets import budget_set
from devflow.apps.containers.models import Budget
from devflow.apps.projects.models import Project
from devflow.web.forms.base import PanelForm


class BudgetForm(PanelForm):
    megabytes = forms.IntegerField(
        label=_("Budget in MB"),
        help_text=_(
            "On all servers together. Where the project takes more, its plan says so; nothing is prevented. "
            "0: no budget."
        ),
    )

    def save(self, actor: Actor, project: Project) -> Budget | None:
        return self.submit(budget_set, actor=actor, project=project, megabytes=self.cleaned_data["megabytes"])
