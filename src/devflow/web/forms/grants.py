"""The form that grants a member rights in a project."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import member_list
from devflow.apps.projects.grants import grants_add
from devflow.apps.projects.models import Grant, Project
from devflow.apps.told import told
from devflow.web.forms.base import PanelForm
from devflow.web.looks import word


class GrantForm(PanelForm):
    email = forms.ChoiceField(label=_("Member"))
    actions = forms.MultipleChoiceField(
        label=pgettext_lazy("what somebody may do", "May"),
        widget=forms.CheckboxSelectMultiple,
        choices=lambda: [(action, told(rights.GRANT_LABELS[action])) for action in rights.GRANTABLE],
    )
    environment = forms.ChoiceField(label=_("Where"), required=False)

    def __init__(self, *args: Any, actor: Actor, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor, self.project = actor, project
        self.members = [member for member in member_list(actor=actor) if member.role not in rights.EVERYWHERE]
        self.fields["email"].choices = [  # type: ignore[attr-defined]
            (member.user.email, f"{member.user} ({member.user.email}), {word('role', member.role)}")
            for member in self.members
        ]
        self.environments = {each.name: each for each in project.environments.all()}
        self.fields["environment"].choices = [  # type: ignore[attr-defined]
            ("", _("The whole project")),
            *((name, name) for name in self.environments),
        ]

    def save(self) -> list[Grant] | None:
        return self.submit(
            grants_add,
            actor=self.actor,
            project=self.project,
            email=self.cleaned_data["email"],
            actions=self.cleaned_data["actions"],
            environment=self.environments.get(self.cleaned_data["environment"]),
        )
