"""The pages of containers of a server as somebody uses them: looks, acts, cleans up, follows logs, and waits."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.containers import selectors, services
from devflow.apps.containers.cleaning import Preview, prune_preview
from devflow.apps.containers.models import Action, Follow, Snapshot
from devflow.apps.servers.models import Server
from tests.support.deployer import Deployer
from tests.support.panel import wait_until


@dataclass
class ServerPages:
    """Those of one server of the panel, which has a worker."""

    panel: Deployer
    server: Server

    def look(self, *, with_disk: bool = True) -> Snapshot:
        """What a look that begins now finds."""
        with scopes_disabled():
            Snapshot.objects.filter(server=self.server).update(asked_at=None, disk_at=None)
        began = timezone.now()
        services.look_request(actor=self.panel.actor, server=self.server, with_disk=with_disk)

        def taken() -> Snapshot | None:
            found = selectors.snapshot_get(actor=self.panel.actor, server=self.server)
            return found if found.taken_at and found.taken_at > began else None

        return wait_until(taken, 60, what=self.panel.output)

    def row(self, name: str) -> selectors.ContainerRow:
        return selectors.container_get(actor=self.panel.actor, server=self.server, container=name)

    def act(self, name: str, kind: str, *, is_confirmed: bool = False) -> Action:
        row = self.row(name)
        return self.ended(services.container_act(actor=self.panel.actor, row=row, kind=kind, is_confirmed=is_confirmed))

    def preview(self, *, with_volumes: bool = False) -> Preview:
        self.look()
        return prune_preview(actor=self.panel.actor, server=self.server, with_volumes=with_volumes)

    def prune(self, preview: Preview) -> Action:
        return self.ended(services.prune_start(actor=self.panel.actor, server=self.server, token=preview.token))

    def ended(self, action: Action) -> Action:
        def found() -> Action | None:
            now = selectors.action_get(actor=self.panel.actor, server=self.server, action_id=str(action.pk))
            return now if now.is_ended else None

        return wait_until(found, 120, what=self.panel.output)

    def follow(self, name: str, tail: int = 200) -> Follow:
        return services.follow_start(actor=self.panel.actor, row=self.row(name), tail=tail)

    def text(self, follow: Follow) -> str:
        return selectors.log_text(actor=self.panel.actor, follow=follow)
