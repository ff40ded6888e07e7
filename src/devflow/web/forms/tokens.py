"""The form that makes an API token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.models import ApiToken
from devflow.apps.accounts.rights import MANAGE_PEOPLE, SCOPE_RIGHTS, Actor
from devflow.apps.accounts.services import token_create
from devflow.apps.projects.selectors import project_names
from devflow.apps.projects.tokens import project_ids
from devflow.web.forms.base import PanelForm

_SCOPES = [
    ("read", _("Read: look at everything")),
    ("deploy", _("Deploy: also deploy, cancel, roll back")),
    ("admin", _("Admin: also change servers, projects, variables")),
]
_DAYS = [("30", _("in 30 days")), ("90", _("in 90 days")), ("365", _("in a year")), ("", _("never"))]


class TokenForm(PanelForm):
    name = forms.CharField(label=_("Name"), max_length=300, help_text=_("What it is for, like laptop or ci."))
    days = forms.ChoiceField(label=_("Expires"), choices=_DAYS, required=False, initial="90")
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=_SCOPES, initial=["read"], widget=forms.CheckboxSelectMultiple
    )
    projects = forms.MultipleChoiceField(
        label=_("Only these projects"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("With none chosen it is for all projects, later ones too."),
    )
    of_team = forms.BooleanField(
        label=_("It belongs to the team"),
        required=False,
        help_text=_(
            "Deployments show its name instead of yours, and it goes on to work when you leave the team. "
            "It may do what its scopes say, in protected environments too."
        ),
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [choice for choice in _SCOPES if all(actor.can_somewhere(right) for right in SCOPE_RIGHTS[choice[0]])]
        self.fields["scopes"].choices = allowed  # type: ignore[attr-defined]
        self._offer_projects([(project.slug, project.name) for project in project_names(actor=actor)])
        if not actor.can(MANAGE_PEOPLE):
            del self.fields["of_team"]

    def save(self, actor: Actor) -> tuple[ApiToken, str] | None:
        """The token and its text, which is known only now."""
        days, slugs = self.cleaned_data["days"], self.cleaned_data.get("projects")
        return self.submit(
            token_create,
            actor=actor,
            name=self.cleaned_data["name"],
            scopes=self.cleaned_data["scopes"],
            expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
            projects=project_ids(actor=actor, slugs=slugs) if slugs else None,
            of_team=self.cleaned_data.get("of_team", False),
        )

    def _offer_projects(self, choices: list[tuple[str, str]]) -> None:
        if choices:
            self.fields["projects"].choices = choices  # type: ignore[attr-defined]
        else:
            del self.fields["projects"]
