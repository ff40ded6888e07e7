"""Forms of environments: every setting, the commands of each phase."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.services import environment_add, environment_update
from devflow.apps.servers.selectors import server_list
from devflow.apps.told import told
from devflow.engine.plan import COMMAND_PHASES
from devflow.engine.task import Task
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES
from devflow.web.forms.base import PanelForm, code_area, code_line, lines
from devflow.web.forms.recipes import (
    option_fields,
    option_initial,
    option_values,
    strategy_fields,
    strategy_initial,
    strategy_values,
)
from devflow.web.looks import word

_PLAIN = (
    *("branch", "root", "servers", "strategy", "keep"),
    *("proxy", "upload_mb", "port", "proxy_template"),
    *("auto_deploy", "tag_pattern"),
    *("health_url", "health_status", "health_text", "health_timeout_seconds", "health_retries"),
)
UPLOAD_MB = 64
_LISTS = ("shared_files", "shared_folders", "watch_paths", "domains")
_OTHER_SERVERS = ("balancer", "builder")


class _EnvironmentFields(PanelForm):
    """The settings of an environment; `recipe` names the recipe whose commands can be changed, '' if unknown."""

    known_strategy = "atomic"

    branch = forms.CharField(label=_("Branch"), max_length=300, initial="main", widget=code_line())
    root = forms.CharField(
        label=_("Folder on the servers"),
        max_length=1000,
        required=False,
        widget=code_line(),
        help_text=_("Holds releases, shared and current."),
    )
    servers = forms.MultipleChoiceField(label=_("Servers"), widget=forms.CheckboxSelectMultiple)
    strategy = forms.ChoiceField(
        label=_("Strategy"),
        choices=lambda: [(name, told(strategy.TITLE)) for name, strategy in STRATEGIES.items()],
        initial="atomic",
        help_text=_("Its own options are below as soon as it is saved."),
    )
    proxy = forms.ChoiceField(
        label=_("Proxy"),
        required=False,
        choices=[("", _("None of the panel's")), ("nginx", "nginx")],
        help_text=_("Serves the domains on each server, from a site file that the panel keeps."),
    )
    domains = forms.CharField(
        label=_("Domains"),
        required=False,
        widget=code_area(2),
        help_text=_("One host name a line, like shop.example.com; *.example.com for all below it."),
    )
    upload_mb = forms.IntegerField(label=_("Largest upload (MB)"), initial=UPLOAD_MB, required=False)
    port = forms.IntegerField(
        label=_("Local port"),
        required=False,
        help_text=_("The first of two, where two releases run side by side. Empty: chosen."),
    )
    proxy_template = forms.CharField(
        label=_("Own site file"),
        required=False,
        max_length=200_000,
        widget=code_area(4),
        help_text=_(
            "In place of the generated one; @domains@ stands for the domains, @upstream@ for where the release "
            "listens: proxy_pass http://@upstream@; Empty: the generated one."
        ),
    )
    balancer = forms.ChoiceField(label=_("Balancer"), required=False, help_text=_("Spreads the load over the servers."))
    builder = forms.ChoiceField(label=_("Builder"), required=False, help_text=_("Builds images for all of them."))
    keep = forms.IntegerField(label=_("Releases to keep"), initial=5, help_text=_("You can roll back to any of them."))
    health_url = forms.CharField(
        label=_("Address"),
        max_length=2000,
        required=False,
        widget=code_line(placeholder="https://shop.example.com/up"),
        help_text=_("Or a path like /up, which is asked on the server itself. Empty: no check, no rollback by itself."),
    )
    health_status = forms.IntegerField(label=_("Expected status"), initial=200)
    health_text = forms.CharField(
        label=_("Expected text"), max_length=1000, required=False, help_text=_("Must be in the answer.")
    )
    health_timeout_seconds = forms.IntegerField(label=_("Timeout in seconds"), initial=10)
    health_retries = forms.IntegerField(label=_("Retries"), initial=5)
    auto_deploy = forms.BooleanField(label=_("Deploy when the branch is pushed to"), required=False)
    watch_paths = forms.CharField(
        label=_("Only where these paths change"),
        required=False,
        widget=code_area(3),
        help_text=_("One pattern a line, like apps/shop/** of a repository with several applications. Empty: any."),
    )
    tag_pattern = forms.CharField(
        label=_("Deploy tags"),
        max_length=300,
        required=False,
        widget=code_line(placeholder="v*"),
        help_text=_("Tags like this are deployed when they are pushed. Empty: none."),
    )
    shared_files = forms.CharField(
        label=_("Files"),
        required=False,
        widget=code_area(3),
        help_text=_("One path a line, like config/local.php. What the recipe shares comes on top."),
    )
    shared_folders = forms.CharField(
        label=_("Folders"), required=False, widget=code_area(3), help_text=_("One path a line, like public/uploads.")
    )

    def __init__(self, *args: Any, actor: Actor, recipe: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor
        self.tasks: tuple[Task, ...] = RECIPES[recipe].tasks if recipe in RECIPES else ()
        self.recipe = recipe
        self.recipe_title = (
            _("Options of %(title)s") % {"title": told(RECIPES[recipe].title)} if recipe in RECIPES else ""
        )
        self.fields |= option_fields(recipe)
        self.fields |= strategy_fields(self.chosen_strategy)
        self.strategy_title = told(STRATEGIES[self.chosen_strategy].TITLE)
        names = [(server.name, server.name) for server in server_list(actor=actor)]
        self.fields["balancer"].choices = [("", _("None")), *names]  # type: ignore[attr-defined]
        self.fields["builder"].choices = [("", _("The first server")), *names]  # type: ignore[attr-defined]
        self.fields["servers"].choices = names  # type: ignore[attr-defined]
        self.has_servers = bool(names)
        self._add_command_fields()

    @property
    def task_fields(self) -> list[forms.BoundField]:
        return [self[f"task_{number}"] for number in range(len(self.tasks))]

    @property
    def option_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in option_fields(self.recipe)]

    @property
    def chosen_strategy(self) -> str:
        """The strategy that is chosen, as far as it is known."""
        chosen = self.data.get("strategy") or self.known_strategy
        return chosen if chosen in STRATEGIES else "atomic"

    @property
    def strategy_option_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in strategy_fields(self.chosen_strategy)]

    @property
    def phase_fields(self) -> list[forms.BoundField]:
        return [self[f"phase_{phase}"] for phase in COMMAND_PHASES]

    @property
    def has_commands(self) -> bool:
        """Whether the commands are worth showing unfolded: there are own ones, or one of them is refused."""
        names = [f"task_{number}" for number in range(len(self.tasks))] + [f"phase_{phase}" for phase in COMMAND_PHASES]
        own = any(self.initial.get(f"phase_{phase}") for phase in COMMAND_PHASES)
        return own or any(name in self.errors for name in names)

    def settings(self) -> dict[str, Any]:
        """What was typed, as the services take it."""
        given = {name: self.cleaned_data[name] for name in _PLAIN}
        given["upload_mb"] = given["upload_mb"] or UPLOAD_MB
        given |= {name: lines(self.cleaned_data[name]) for name in _LISTS}
        given |= {name: self.cleaned_data[name] for name in _OTHER_SERVERS}
        given["strategy_options"] = strategy_values(self.cleaned_data, self.chosen_strategy)
        given["phase_commands"] = {phase: lines(self.cleaned_data[f"phase_{phase}"]) for phase in COMMAND_PHASES}
        if self.tasks:
            given["task_commands"] = self._changed_tasks()
            given["recipe_options"] = option_values(self.cleaned_data, self.recipe)
        return given

    def _add_command_fields(self) -> None:
        for number, task in enumerate(self.tasks):
            label = f"{task.name} ({word('phase', task.phase)})"
            field = forms.CharField(
                label=label, required=False, max_length=10_000, widget=code_area(min(1 + task.command.count("\n"), 12))
            )
            self.fields[f"task_{number}"] = field
            field.initial = task.command
        for phase in COMMAND_PHASES:
            self.fields[f"phase_{phase}"] = forms.CharField(
                label=capfirst(word("phase", phase)), required=False, max_length=10_000, widget=code_area(2)
            )

    def _changed_tasks(self) -> dict[str, str]:
        """Only what differs from the recipe is kept, so that a newer recipe's commands arrive by themselves."""
        typed = {
            task.name: self.cleaned_data[f"task_{number}"].replace("\r\n", "\n")
            for number, task in enumerate(self.tasks)
        }
        return {task.name: typed[task.name] for task in self.tasks if typed[task.name] != task.command.strip()}


class EnvironmentForm(_EnvironmentFields):
    conflict_field = "name"

    name = forms.CharField(label=_("Name"), max_length=300, initial="production", widget=code_line())

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, recipe=project.recipe, **kwargs)
        self.project = project
        self.fields["root"].widget.attrs["placeholder"] = f"/srv/{project.slug}-…"

    def save(self) -> Environment | None:
        return self.submit(
            environment_add, actor=self.actor, project=self.project, name=self.cleaned_data["name"], **self.settings()
        )


class EnvironmentSettingsForm(_EnvironmentFields):
    def __init__(self, *args: Any, environment: Environment, **kwargs: Any) -> None:
        recipe = environment.project.recipe or environment.detected.get("recipe", "")
        self.known_strategy = environment.strategy
        super().__init__(*args, recipe=recipe, **kwargs)
        self.environment = environment
        self.initial = self._present()
        self.fields["root"].required = True

    def save(self) -> Environment | None:
        return self.submit(environment_update, actor=self.actor, environment=self.environment, **self.settings())

    def _present(self) -> dict[str, Any]:
        environment = self.environment
        present = {name: getattr(environment, name) for name in _PLAIN if name != "servers"}
        present["servers"] = [server.name for server in environment.servers.all()]
        present |= {name: "\n".join(getattr(environment, name)) for name in _LISTS}
        present |= {f"phase_{phase}": "\n".join(commands) for phase, commands in environment.phase_commands.items()}
        present |= option_initial(environment.recipe_options) | strategy_initial(environment.strategy_options)
        present |= {name: getattr(getattr(environment, name), "name", "") for name in _OTHER_SERVERS}
        changed = environment.task_commands
        present |= {f"task_{number}": changed.get(task.name, task.command) for number, task in enumerate(self.tasks)}
        return present
