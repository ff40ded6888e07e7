"""Forms of projects."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Project
from devflow.apps.projects.services import project_add, project_update
from devflow.apps.told import told
from devflow.recipes import RECIPES
from devflow.web.forms.base import PanelForm, code_line, secret_area


def _recipe_choices() -> list[tuple[str, str]]:
    return [
        ("", gettext("Detect it from the files")),
        *((name, told(recipe.title)) for name, recipe in RECIPES.items()),
    ]


class _ProjectFields(PanelForm):
    repository = forms.CharField(
        label=_("Repository"),
        max_length=2000,
        widget=code_line(placeholder="git@github.com:acme/shop.git"),
        help_text=_("https, ssh, or a path on the server."),
    )
    name = forms.CharField(
        label=_("Title"), max_length=300, required=False, help_text=_("How it is shown; the name if empty.")
    )
    recipe = forms.ChoiceField(
        label=_("Recipe"),
        choices=_recipe_choices,
        required=False,
        help_text=_("Its commands can be changed per environment."),
    )
    reads_file = forms.BooleanField(
        label=_("devflow.yml of the repository is in force before these settings"),
        required=False,
        help_text=_(
            "Off: the file is ignored. On: each deployment reads it first, and whoever can push can change "
            "commands, hooks, shared paths and the health check."
        ),
    )
    deploy_key = forms.CharField(
        label=_("Deploy key"),
        required=False,
        widget=secret_area(3),
        help_text=_("A private key that may read the repository. Empty: for an ssh address, the panel makes one."),
    )


class ProjectForm(_ProjectFields):
    conflict_field = "slug"

    slug = forms.CharField(
        label=_("Name"),
        max_length=300,
        widget=code_line(placeholder="shop"),
        help_text=_("Lower-case letters, digits, hyphens; it is part of addresses."),
    )

    def save(self, actor: Actor) -> Project | None:
        return self.submit(project_add, actor=actor, **self.cleaned_data)


class ProjectSettingsForm(_ProjectFields):
    """An empty deploy key keeps the present one, which is never shown."""

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        kept = ("repository", "name", "recipe", "reads_file")
        initial = {field: getattr(project, field) for field in kept}
        super().__init__(*args, initial=initial, **kwargs)
        self.project = project
        self.fields["deploy_key"].help_text = _("Leave it empty to keep the present one.")

    def save(self, actor: Actor) -> Project | None:
        given = {**self.cleaned_data, "name": self.cleaned_data["name"] or self.project.slug}
        return self.submit(project_update, actor=actor, project=self.project, **given)
