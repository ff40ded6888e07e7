"""The form of a channel, made from the fields that its kind declares."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.conf import settings
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.notifications import services
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels.base import SETTING_PREFIX, ChannelKind, Field
from devflow.apps.notifications.events import EVENTS, default_events
from devflow.apps.notifications.models import Channel
from devflow.apps.projects.selectors import project_names
from devflow.apps.told import told
from devflow.core.errors import InvalidError
from devflow.web.forms.base import PanelForm, code_line, secret_line

T = TypeVar("T")
_SETTING = "setting_"
_LONGEST = 4000


class ChannelForm(PanelForm):
    """`channel` is the one to change; None for a new one, in which `project` (a slug) may be chosen already."""

    conflict_field = "name"

    name = forms.CharField(label=_("Name"), max_length=300, help_text=_("How the channel is called here."))
    project = forms.ChoiceField(
        label=_("Told of"), required=False, help_text=_("Servers are told of by channels of all projects only.")
    )
    language = forms.ChoiceField(
        label=_("Language of the messages"),
        required=False,
        help_text=_("Names, commit messages and what programs print stay."),
    )
    events = forms.MultipleChoiceField(label=_("When"), required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(
        self,
        *args: Any,
        actor: Actor,
        kind: ChannelKind,
        channel: Channel | None = None,
        project: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._actor, self._kind, self._channel = actor, kind, channel
        self._projects = {each.slug: each for each in project_names(actor=actor)}
        names = [(slug, each.name) for slug, each in self._projects.items()]
        self.fields["project"].choices = [("", _("All projects and servers")), *names]  # type: ignore[attr-defined]
        self.fields["language"].choices = settings.LANGUAGES  # type: ignore[attr-defined]
        titles = [(name, told(each.title)) for name, each in EVENTS.items()]
        self.fields["events"].choices = titles  # type: ignore[attr-defined]
        known = json.loads(channel.settings) if channel else {}
        for declared in kind.fields:
            self.fields[_SETTING + declared.name] = _form_field(declared, known)
        if channel is not None:
            slug = channel.project.slug if channel.project else ""
            self.initial.update(name=channel.name, events=channel.events, language=channel.language, project=slug)
        else:
            self.initial.update(events=default_events(), language=get_language(), project=project)

    @property
    def setting_fields(self) -> list[forms.BoundField]:
        return [self[_SETTING + declared.name] for declared in self._kind.fields]

    def submit(self, service: Callable[..., T], **arguments: Any) -> T | None:
        """As of every form; what is wrong with a setting is shown at its field."""

        def called() -> T:
            try:
                return service(**arguments)
            except InvalidError as error:
                raise InvalidError(
                    str(error), {name.replace(SETTING_PREFIX, _SETTING): text for name, text in error.errors.items()}
                ) from None

        return super().submit(called)

    def save(self) -> tuple[Channel, dict[str, str]] | None:
        """The channel, and the secrets that the panel made for it, by setting; they are known only now."""
        given = {
            "actor": self._actor,
            "name": self.cleaned_data["name"],
            "events": self.cleaned_data["events"],
            "project_id": project.pk if (project := self._projects.get(self.cleaned_data["project"])) else None,
            "settings": {declared.name: self.cleaned_data[_SETTING + declared.name] for declared in self._kind.fields},
        }
        if self.cleaned_data["language"]:
            given["language"] = self.cleaned_data["language"]
        if self._channel is None:
            return self.submit(services.channel_add, kind=self._kind.name, **given)
        changed = self.submit(services.channel_update, channel=self._channel, **given)
        return (changed, {}) if changed else None


def channel_kinds() -> list[ChannelKind]:
    """The kinds, in the order in which to show them."""
    return list(CHANNELS.values())


def _kept_help(declared: Field, help_text: str) -> str:
    """What is made where nothing is given is made once."""
    stays = gettext("Empty: it stays as it is.")
    return stays if declared.is_generated else " ".join([help_text, stays]).strip()


def _form_field(declared: Field, known: dict[str, Any]) -> forms.Field:
    """`known` are the settings of the channel that is changed; a secret among them is never sent to the browser."""
    is_kept = declared.is_secret and bool(known.get(declared.name))
    initial = known.get(declared.name, declared.default)
    help_text = told(declared.help)
    common: dict[str, Any] = {
        "label": told(declared.label),
        "required": declared.is_required and not is_kept,
        "help_text": _kept_help(declared, help_text) if is_kept else help_text,
        "initial": "" if declared.is_secret else " ".join(initial) if isinstance(initial, list) else initial,
    }
    attrs = {"placeholder": declared.placeholder} if declared.placeholder else {}
    if declared.type == "choice":
        return forms.ChoiceField(choices=[(value, told(title)) for value, title in declared.choices], **common)
    if declared.is_secret and declared.type == "text":
        hidden = forms.PasswordInput(attrs={"class": "code", "autocomplete": "new-password", **attrs})
        return forms.CharField(max_length=_LONGEST, strip=False, widget=hidden, **common)
    line = secret_line if declared.is_secret else code_line
    return forms.CharField(max_length=_LONGEST, widget=line(**attrs), **common)
