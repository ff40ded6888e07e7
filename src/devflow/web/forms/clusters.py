"""Forms of clusters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.rights import Actor
from devflow.apps.servers.clusters import cluster_form, node_join, service_scale
from devflow.apps.servers.models import Cluster, ClusterAction, Server
from devflow.apps.servers.selectors import server_get
from devflow.commands.swarm import LEAST_REPLICAS, MANAGER, MOST_REPLICAS, WORKER
from devflow.web.forms.base import PanelForm, code_line

_ADDRESS_HELP = _(
    "How the other nodes reach it. Empty: Docker finds it; needed where the server has several addresses."
)


class ClusterForm(PanelForm):
    conflict_field = "server"

    name = forms.CharField(
        label=_("Name"),
        max_length=300,
        widget=code_line(placeholder="shops"),
        help_text=_("How it is called here: lower-case letters, digits, hyphens."),
    )
    server = forms.ChoiceField(label=_("First manager"), help_text=_("A swarm that it manages already is taken over."))
    address = forms.CharField(
        label=_("Address"), max_length=300, required=False, widget=code_line(), help_text=_ADDRESS_HELP
    )

    def __init__(self, *args: object, servers: Iterable[Server], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["server"].choices = _choices(servers)  # type: ignore[attr-defined]

    def save(self, actor: Actor) -> ClusterAction | None:
        given = self.cleaned_data
        server = server_get(actor=actor, name=given["server"])
        return self.submit(cluster_form, actor=actor, name=given["name"], server=server, address=given["address"])


class JoinForm(PanelForm):
    conflict_field = "server"

    server = forms.ChoiceField(label=_("Server"))
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[(WORKER, "worker"), (MANAGER, "manager")],
        initial=WORKER,
        help_text=_("Three managers survive the loss of one, five of two."),
    )
    address = forms.CharField(
        label=_("Address"), max_length=300, required=False, widget=code_line(), help_text=_ADDRESS_HELP
    )

    def __init__(self, *args: object, servers: Iterable[Server], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["server"].choices = _choices(servers)  # type: ignore[attr-defined]

    def save(self, actor: Actor, cluster: Cluster) -> ClusterAction | None:
        given = self.cleaned_data
        server = server_get(actor=actor, name=given["server"])
        return self.submit(
            node_join, actor=actor, cluster=cluster, server=server, role=given["role"], address=given["address"]
        )


class ScaleForm(PanelForm):
    service = forms.CharField(max_length=200)
    replicas = forms.IntegerField(min_value=LEAST_REPLICAS, max_value=MOST_REPLICAS)

    def save(self, actor: Actor, cluster: Cluster) -> ClusterAction | None:
        return self.submit(partial(service_scale, **self.cleaned_data), actor=actor, cluster=cluster)


def _choices(servers: Iterable[Server]) -> list[tuple[str, str]]:
    """Servers that are in no cluster."""
    return [(server.name, f"{server.name} ({server.address})") for server in servers if server.cluster_id is None]
