"""Forms of windows and freezes, and of deploying outside of them."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.services import deployment_override
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.apps.projects.windows import calendar_of, environment_freeze
from devflow.apps.told import told
from devflow.core.errors import InvalidError
from devflow.core.windows import parse_window
from devflow.web.forms.base import PanelForm, code_area, code_select, lines


class WindowsForm(PanelForm):
    windows = forms.CharField(
        label=_("Windows"),
        required=False,
        max_length=5000,
        widget=code_area(4),
        help_text=_("One a line, like mon-fri 08:00-18:00 or sat, sun 22:00-02:00. Empty: open at any time."),
    )
    time_zone = forms.ChoiceField(label=_("Time zone"), widget=code_select())

    def __init__(self, *args: Any, environment: Environment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.environment = environment
        zones = dict.fromkeys([environment.time_zone, *_zones()])
        self.fields["time_zone"].choices = [(name, name) for name in zones]  # type: ignore[attr-defined]
        present = "\n".join(window.text for window in calendar_of(environment).windows)
        self.initial = {"windows": present, "time_zone": environment.time_zone}

    def clean_windows(self) -> list[dict[str, Any]]:
        try:
            return [parse_window(line) for line in lines(self.cleaned_data["windows"])]
        except InvalidError as error:
            raise forms.ValidationError(told(str(error))) from None

    def save(self, actor: Actor) -> Environment | None:
        return self.submit(environment_update, actor=actor, environment=self.environment, **self.cleaned_data)


class FreezeForm(PanelForm):
    reason = forms.CharField(label=_("Why"), max_length=600, help_text=_("People who wait read it."))
    begins = forms.CharField(label=_("From"), required=False, max_length=50, help_text=_("Empty: from now on."))
    ends = forms.CharField(label=_("Until"), required=False, max_length=50, help_text=_("Empty: until it is lifted."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("begins", "ends"):
            self.fields[name].widget = forms.DateTimeInput(attrs={"type": "datetime-local"})

    def save(self, actor: Actor, environment: Environment) -> Environment | None:
        return self.submit(
            environment_freeze,
            actor=actor,
            environment=environment,
            reason=self.cleaned_data["reason"],
            begins=self.cleaned_data["begins"],
            ends=self.cleaned_data["ends"],
        )


class OverrideForm(PanelForm):
    override_reason = forms.CharField(
        label=_("Why it cannot wait"), max_length=500, help_text=_("Kept with the deployment, and in its log.")
    )

    def save(self, actor: Actor, deployment: Deployment) -> Deployment | None:
        reason = self.cleaned_data["override_reason"]
        return self.submit(deployment_override, actor=actor, deployment=deployment, reason=reason)


def _zones() -> list[str]:
    """UTC first, then by name; the database's own directories are no zones of people."""
    return ["UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))]
