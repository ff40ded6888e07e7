"""A project's webhook: its provider, address and secret; what came, and taking it once more."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import Input
from devflow.apps.accounts import rights
from devflow.apps.deployments.pushes import delivery_redeliver
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_get
from devflow.apps.projects.services import project_source
from devflow.apps.sources import selectors, services
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers import PROVIDERS

router = Router(tags=["webhooks"])


class WebhookIn(Input):
    provider: str = Field(description=f"One of {', '.join(PROVIDERS)}; empty: no webhooks are taken.")


class WebhookOut(BaseModel):
    """`url` and the secret are given to the provider; `secret` is there only in the answer that made it."""

    provider: str | None
    url: str | None
    secret: str | None
    steps: list[str] = Field(description="How the webhook is set up at the provider.")

    @classmethod
    def of(cls, source: Source | None, secret: str = "") -> Self:
        if source is None or not source.provider:
            return cls(provider=None, url=None, secret=None, steps=[])
        steps = list(PROVIDERS[source.provider].steps)
        url = selectors.webhook_url(source)
        return cls(provider=source.provider, url=url, secret=secret or None, steps=steps)


class HookDeliveryOut(BaseModel):
    """`status` and `answer` are what the provider was answered."""

    id: UUID
    event: str
    status: int
    answer: dict[str, Any]
    redelivery_of: UUID | None
    received_at: datetime

    @classmethod
    def of(cls, delivery: Delivery, **more: Any) -> Self:
        return cls(
            id=delivery.pk,
            event=delivery.event,
            status=delivery.answer_status,
            answer=delivery.answer,
            redelivery_of=delivery.redelivery_of_id,
            received_at=delivery.received_at,
            **more,
        )


class HookDeliveryDetail(HookDeliveryOut):
    """`headers` have their secrets masked; they and the payload are kept of the last deliveries only."""

    headers: dict[str, str]
    payload: str


@router.get("{slug}/webhook", response=WebhookOut)
def webhook_show(request: ApiRequest, slug: str) -> WebhookOut:
    return WebhookOut.of(_project(request, slug).source)


@router.put("{slug}/webhook", response=WebhookOut)
def webhook_set(request: ApiRequest, slug: str, payload: WebhookIn) -> WebhookOut:
    """Takes webhooks of this provider. The answer has the secret where one was made: keep it, it is not shown again."""
    project = _project(request, slug)
    source = project_source(actor=request.auth, project=project)
    secret = services.webhook_set(actor=request.auth, source=source, provider=payload.provider)
    return WebhookOut.of(source, secret)


@router.post("{slug}/webhook/rotate", response=WebhookOut)
def webhook_rotate(request: ApiRequest, slug: str) -> WebhookOut:
    """A new secret, shown only now; what is signed with the old one is refused from now on."""
    project = _project(request, slug)
    request.auth.require(rights.MANAGE)
    source = project_source(actor=request.auth, project=project)
    return WebhookOut.of(source, services.webhook_rotate(actor=request.auth, source=source))


@router.get("{slug}/deliveries", response=Page[HookDeliveryOut])
def hook_delivery_list(request: ApiRequest, slug: str, paging: PageQuery) -> Page[HookDeliveryOut]:
    """What the provider sent, the newest first; the last 200."""
    deliveries = selectors.delivery_list(actor=request.auth, source=_project(request, slug).source)
    rows, following = cut(deliveries, paging, key=lambda delivery: str(delivery.pk), is_descending=True)
    return Page[HookDeliveryOut](items=[HookDeliveryOut.of(delivery) for delivery in rows], next=following)


@router.get("{slug}/deliveries/{delivery_id}", response=HookDeliveryDetail)
def hook_delivery_show(request: ApiRequest, slug: str, delivery_id: str) -> HookDeliveryDetail:
    delivery = _delivery(request, slug, delivery_id)
    return HookDeliveryDetail.of(delivery, headers=delivery.headers, payload=selectors.payload(delivery))


@router.post("{slug}/deliveries/{delivery_id}/redeliver", response={201: HookDeliveryOut})
def hook_delivery_redeliver(request: ApiRequest, slug: str, delivery_id: str) -> HookDeliveryOut:
    """Takes the payload once more, as a new delivery, by the settings of now. 409 where it is not kept any more."""
    again = delivery_redeliver(actor=request.auth, delivery=_delivery(request, slug, delivery_id))
    return HookDeliveryOut.of(again)


def _project(request: ApiRequest, slug: str) -> Project:
    return project_get(actor=request.auth, slug=slug)


def _delivery(request: ApiRequest, slug: str, delivery_id: str) -> Delivery:
    source = _project(request, slug).source
    return selectors.delivery_get(actor=request.auth, source=source, delivery_id=delivery_id)
