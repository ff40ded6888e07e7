"""The filters of the audit log: they stand in the address of the page."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.selectors import Filters
from devflow.apps.projects.selectors import project_names
from devflow.web.forms.base import PanelForm

_DAY = forms.DateInput(attrs={"type": "date"})


class FilterForm(PanelForm):
    """All may be empty. Days are whole days in UTC."""

    who = forms.CharField(label=_("Who"), required=False, max_length=200)
    action = forms.CharField(label=_("Action"), required=False, max_length=60)
    project = forms.ChoiceField(label=_("Project"), required=False)
    since = forms.DateField(label=_("From"), required=False, widget=_DAY)
    until = forms.DateField(label=_("To"), required=False, widget=_DAY)
    address = forms.CharField(label=_("Address"), required=False, max_length=45)
    text = forms.CharField(label=_("Text"), required=False, max_length=200)
    panel = forms.BooleanField(label=_("The panel's own log"), required=False)

    def __init__(self, *args: Any, actor: Actor, actions: list[str], may_see_panel: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = {project.slug: project for project in project_names(actor=actor)}
        self._ids = {slug: project.pk for slug, project in projects.items()}
        choices = [("", _("All")), *((slug, project.name) for slug, project in projects.items())]
        self.fields["project"].choices = choices  # type: ignore[attr-defined]
        self.fields["action"].widget.attrs["list"] = "audit-actions"
        self.actions = actions
        if not may_see_panel:
            del self.fields["panel"]

    def chosen(self) -> list[dict[str, str]]:
        """The filters that are set, in words: label, value ('' for one that is on or off)."""
        given = getattr(self, "cleaned_data", {})
        names = dict(self.fields["project"].choices)  # type: ignore[attr-defined]
        found = [(name, given.get(name)) for name in self.fields if given.get(name)]
        return [
            {"label": str(self[name].label), "value": "" if value is True else str(names.get(value, value))}
            for name, value in found
        ]

    def filters(self) -> Filters:
        """What is chosen; what is not valid is left out (the page says so)."""
        given = getattr(self, "cleaned_data", {})
        since, until = given.get("since"), given.get("until")
        return Filters(
            who=given.get("who", ""),
            action=given.get("action", ""),
            project_id=self._ids.get(given.get("project", "")),
            since=datetime.combine(since, time.min, UTC) if since else None,
            until=datetime.combine(until + timedelta(days=1), time.min, UTC) if until and until.year < 9999 else None,
            address=given.get("address", ""),
            text=given.get("text", ""),
            is_panel=bool(given.get("panel")),
        )
