"""The form that asks for a deployment."""

from __future__ import annotations

from django import forms

from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.services import deployment_request
from devflow.apps.projects.models import Environment
from devflow.web.forms.base import PanelForm, code_line


class DeployForm(PanelForm):
    commit = forms.CharField(
        label="Commit",
        max_length=300,
        required=False,
        widget=code_line(),
        help_text="The full id, as git rev-parse HEAD prints it.",
    )

    def save(self, actor: Actor, environment: Environment) -> Deployment | None:
        return self.submit(deployment_request, actor=actor, environment=environment, commit=self.cleaned_data["commit"])
