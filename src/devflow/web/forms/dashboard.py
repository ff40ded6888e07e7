"""What is asked of the dashboard, in its address."""

from __future__ import annotations

from typing import Any

from django import forms

from devflow.web.forms.base import PanelForm
from devflow.web.presenters.dashboard import STATES


class BoardForm(PanelForm):
    state = forms.ChoiceField(required=False, choices=[("", ""), *((state, state) for state in STATES)])
    q = forms.CharField(required=False, max_length=100)
    after = forms.CharField(required=False, max_length=63)

    def chosen(self) -> dict[str, Any]:
        """Each as it is asked for, or as without it where it is not valid."""
        self.is_valid()
        found = self.cleaned_data
        return {name: found.get(name) or "" for name in self.fields}
