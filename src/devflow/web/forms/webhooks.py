"""The form that says which provider's webhooks a project takes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Project
from devflow.apps.projects.services import project_source
from devflow.apps.sources.providers import PROVIDERS, guess
from devflow.apps.sources.services import webhook_set
from devflow.apps.told import told
from devflow.web.forms.base import PanelForm


def _choices() -> list[tuple[str, str]]:
    return [
        *((name, told(provider.title)) for name, provider in PROVIDERS.items()),
        ("", gettext("None: no webhooks are taken")),
    ]


class WebhookForm(PanelForm):
    provider = forms.ChoiceField(label=_("Git provider"), choices=_choices, required=False)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        present = project.source.provider if project.source else guess(project.repository) or next(iter(PROVIDERS))
        self.initial = {"provider": present}

    def save(self, actor: Actor) -> str | None:
        """The secret that was made, '' where there was one already."""
        source = project_source(actor=actor, project=self.project)
        return self.submit(webhook_set, actor=actor, source=source, provider=self.cleaned_data["provider"])
