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

    is_clean = forms.BooleanField(
        label="Install and build anew",
        required=False,
        help_text="Nothing that was kept of earlier releases is reused.",
    )
    override_reason = forms.CharField(
        label="Do not wait for a window, because",
        max_length=500,
        required=False,
        help_text="Kept with the deployment, and in its log.",
    )

    def save(self, actor: Actor, environment: Environment) -> Deployment | None:
        return self.submit(
            deployment_request,
            actor=actor,
            environment=environment,
            commit=self.cleaned_data["commit"],
            is_clean=self.cleaned_data["is_clean"],
            override_reason=self.cleaned_data["override_reason"],
        )
