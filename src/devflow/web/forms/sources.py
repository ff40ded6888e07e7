"""The form of a project's access to its git provider."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Project
from devflow.apps.projects.services import project_source
from devflow.apps.sources.models import Source
from devflow.apps.sources.reports import Shown, source_update
from devflow.apps.told import told
from devflow.web.forms.base import PanelForm, code_line


class AccessForm(PanelForm):
    access_token = forms.CharField(
        label=_("Access token"),
        max_length=2000,
        required=False,
        widget=forms.PasswordInput(attrs={"class": "code", "autocomplete": "new-password"}),
    )
    api_url = forms.CharField(label="API", max_length=600, required=False, widget=code_line())
    repository = forms.CharField(label=_("Repository there"), max_length=600, required=False, widget=code_line())
    reports = forms.BooleanField(label=_("Tell the provider how deployments fare"), required=False)
    tag_format = forms.CharField(
        label=_("Tag successful deployments"),
        max_length=300,
        required=False,
        widget=code_line(placeholder="deployed-{environment}-{date}-{number}"),
        help_text=_("Of {environment}, {date}, {time}, {number}, {commit}. Empty: no tags are made."),
    )

    def __init__(self, *args: Any, project: Project, shown: Shown, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        source = project.source
        self.project = project
        kept = (
            gettext("There is one; it is not shown. Empty: it stays.") + " "
            if source and source.access_token_sealed
            else ""
        )
        self.fields["access_token"].help_text = kept + told(shown.token_help)
        self.fields["api_url"].widget.attrs["placeholder"] = shown.api_url or "https://gitlab.example.com/api/v4"
        self.fields["api_url"].help_text = _("Empty: the provider's own, or that of the repository's host.")
        self.fields["repository"].widget.attrs["placeholder"] = shown.repository or "team/app"
        self.fields["repository"].help_text = _("Empty: as in the repository's address.")
        self.initial = {
            "api_url": source.api_url if source else "",
            "repository": source.repository if source else "",
            "reports": source.reports if source else True,
            "tag_format": source.tag_format if source else "",
        }

    def save(self, actor: Actor) -> Source | None:
        given = dict(self.cleaned_data)
        if not given["access_token"]:
            del given["access_token"]
        return self.submit(self._save, actor=actor, given=given)

    def _save(self, actor: Actor, given: dict[str, Any]) -> Source:
        source = project_source(actor=actor, project=self.project)
        return source_update(actor=actor, source=source, **given)
