"""The form that makes an API token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from devflow.apps.accounts.models import ApiToken
from devflow.apps.accounts.rights import SCOPE_RIGHTS, Actor
from devflow.apps.accounts.services import token_create
from devflow.web.forms.base import PanelForm

_SCOPES = [
    ("read", "Read: look at everything"),
    ("deploy", "Deploy: also deploy, cancel, roll back"),
    ("admin", "Admin: also change servers, projects, variables"),
]
_DAYS = [("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("", "never")]


class TokenForm(PanelForm):
    name = forms.CharField(label="Name", max_length=300, help_text="What it is for, like laptop or ci.")
    days = forms.ChoiceField(label="Expires", choices=_DAYS, required=False, initial="90")
    scopes = forms.MultipleChoiceField(
        label="Scopes", choices=_SCOPES, initial=["read"], widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [(name, label) for name, label in _SCOPES if all(actor.can(right) for right in SCOPE_RIGHTS[name])]
        self.fields["scopes"].choices = allowed  # type: ignore[attr-defined]

    def save(self, actor: Actor) -> tuple[ApiToken, str] | None:
        """The token and its text, which is known only now."""
        days = self.cleaned_data["days"]
        expires_at = timezone.now() + timedelta(days=int(days)) if days else None
        given = {"name": self.cleaned_data["name"], "scopes": self.cleaned_data["scopes"]}
        return self.submit(token_create, actor=actor, expires_at=expires_at, **given)
