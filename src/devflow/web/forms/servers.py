"""The forms that add a server, and change where it is reached."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.servers.models import Server
from devflow.apps.servers.services import may_use_this_machine, server_add, server_update
from devflow.web.forms.base import PanelForm, code_line, secret_area

REMOTE, LOCAL = "remote", "local"
SSH_PORT = 22


class ServerForm(PanelForm):
    conflict_field = "name"

    name = forms.CharField(
        label=_("Name"),
        max_length=300,
        widget=code_line(placeholder="web-1"),
        help_text=_("How it is called here: lower-case letters, digits, hyphens."),
    )
    place = forms.ChoiceField(
        label=_("Reached"),
        choices=[(REMOTE, _("over SSH")), (LOCAL, _("it is this machine"))],
        initial=REMOTE,
        widget=forms.RadioSelect,
    )
    host = forms.CharField(
        label=_("Host"),
        max_length=300,
        required=False,
        widget=code_line(placeholder="203.0.113.7"),
        help_text=_("Name or address."),
    )
    user = forms.CharField(label=_("User"), max_length=300, initial="deploy", required=False, widget=code_line())
    port = forms.IntegerField(label=_("Port"), initial=SSH_PORT, required=False)
    private_key = forms.CharField(
        label=_("Private key"),
        required=False,
        widget=secret_area(4),
        help_text=_(
            "Empty: the panel makes one for this server. Yours must have no passphrase; it is stored encrypted."
        ),
    )
    host_key = forms.CharField(
        label=_("Host key"),
        max_length=2000,
        required=False,
        widget=code_line(placeholder="ssh-ed25519 AAAA…"),
        help_text=_("Leave it empty to pin the key that the server shows first."),
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor
        if not may_use_this_machine(actor):
            self.fields["place"].choices = [(REMOTE, _("over SSH"))]  # type: ignore[attr-defined]

    def save(self) -> Server | None:
        actor = self.actor
        place = self.cleaned_data["place"]
        if place == LOCAL:
            return self.submit(server_add, actor=actor, name=self.cleaned_data["name"], is_local=True)
        given = {key: self.cleaned_data[key] for key in ("name", "host", "user", "private_key", "host_key")}
        port = self.cleaned_data["port"]
        return self.submit(server_add, actor=actor, port=SSH_PORT if port is None else port, **given)


class ServerAddressForm(PanelForm):
    host = forms.CharField(label=_("Host"), max_length=300, widget=code_line(), help_text=_("Name or address."))
    user = forms.CharField(label=_("User"), max_length=300, widget=code_line())
    port = forms.IntegerField(label=_("Port"))

    def __init__(self, *args: Any, server: Server, **kwargs: Any) -> None:
        initial = {"host": server.host, "user": server.user, "port": server.port}
        super().__init__(*args, initial=initial, **kwargs)
        self.server = server

    def save(self, actor: Actor) -> Server | None:
        return self.submit(server_update, actor=actor, server=self.server, **self.cleaned_data)
