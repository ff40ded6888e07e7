"""A project's webhook: its provider, address and secret; what came, and taking it once more."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, cursor
from devflow.api.schemas import Input
from devflow.apps.accounts import rights
from devflow.apps.deployments.pushes import delivery_redeliver
from devflow.apps.deployments.selectors import deployment_statuses
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_get
from devflow.apps.projects.services import project_source
from devflow.apps.sources import selectors, services
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers import PROVIDERS

router = Router(tags=["webhooks"])


class WebhookIn(Input):
    provider: str = Field(description=f"One of {', '.join(PROVIDERS)}; empty: no webhooks are taken.")


class RefusedOut(BaseModel):
    """`event` and `sender` (the user agent) are what the request said of itself: nobody has proved them."""

    at: datetime
    event: str
    sender: str


class WebhookOut(BaseModel):
    """`url` and the secret are given to the provider; `secret` is there only in the answer that made it, `note` says
    what to do with a new one."""

    provider: str | None
    url: str | None
    secret: str | None
    note: str | None
    steps: list[str] = Field(description="How the webhook is set up at the provider.")
    refused: list[RefusedOut] = Field(description="The last requests with a wrong signature, the newest first.")

    @classmethod
    def of(cls, source: Source | None, secret: str = "", note: str = "") -> Self:
        if source is None or not source.provider:
            return cls(provider=None, url=None, secret=None, note=None, steps=[], refused=[])
        return cls(
            provider=source.provider,
            url=selectors.webhook_url(source),
            secret=secret or None,
            note=note or None,
            steps=services.webhook_steps(source, is_secret_shown=bool(secret)),
            refused=[RefusedOut.model_validate(each) for each in source.refused],
        )


class HookDeliveryOut(BaseModel):
    """`status` and `answer` are what the provider was answered; `ref`, `commit`, `message` and `author` are of the
    (first) push that it told of, `outcomes` the statuses of the deployments that it asked for, by their ids."""

    id: UUID
    event: str
    ref: str | None
    commit: str | None
    message: str | None
    author: str | None
    outcomes: dict[str, str]
    status: int
    answer: dict[str, Any]
    redelivery_of: UUID | None
    received_at: datetime

    @classmethod
    def of(cls, delivery: Delivery, statuses: Mapping[str, str], **more: Any) -> Self:
        return cls(
            id=delivery.pk,
            event=delivery.event,
            ref=delivery.ref or None,
            commit=delivery.commit or None,
            message=delivery.message or None,
            author=delivery.author or None,
            outcomes={made: statuses[made] for made in delivery.answer.get("deployments", ()) if made in statuses},
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
    require_recent(request)
    project = _project(request, slug)
    source = project_source(actor=request.auth, project=project)
    secret = services.webhook_set(actor=request.auth, source=source, provider=payload.provider)
    return WebhookOut.of(source, secret)


@router.post("{slug}/webhook/rotate", response=WebhookOut)
def webhook_rotate(request: ApiRequest, slug: str) -> WebhookOut:
    """A new secret, shown only now; what is signed with the old one is refused from now on."""
    require_recent(request)
    project = _project(request, slug)
    request.auth.require(rights.MANAGE, project)
    source = project_source(actor=request.auth, project=project)
    rotated = services.webhook_rotate(actor=request.auth, source=source)
    return WebhookOut.of(source, rotated.secret, rotated.note(PROVIDERS[source.provider].title))


@router.get("{slug}/deliveries", response=Page[HookDeliveryOut])
def hook_delivery_list(request: ApiRequest, slug: str, paging: PageQuery) -> Page[HookDeliveryOut]:
    """What the provider sent, the newest first."""
    found = selectors.delivery_list(
        actor=request.auth, source=_project(request, slug).source, before=paging.after, limit=paging.limit + 1
    )
    shown = found[: paging.limit]
    statuses = _statuses(request, *shown)
    following = cursor(str(shown[-1].pk)) if len(found) > len(shown) else None
    return Page[HookDeliveryOut](items=[HookDeliveryOut.of(each, statuses) for each in shown], next=following)


@router.get("{slug}/deliveries/{delivery_id}", response=HookDeliveryDetail)
def hook_delivery_show(request: ApiRequest, slug: str, delivery_id: str) -> HookDeliveryDetail:
    delivery = _delivery(request, slug, delivery_id)
    statuses, payload = _statuses(request, delivery), selectors.payload(delivery)
    return HookDeliveryDetail.of(delivery, statuses, headers=delivery.headers, payload=payload)


@router.post("{slug}/deliveries/{delivery_id}/redeliver", response={201: HookDeliveryOut})
def hook_delivery_redeliver(request: ApiRequest, slug: str, delivery_id: str) -> HookDeliveryOut:
    """Takes the payload once more, as a new delivery, by the settings of now. 409 where it is not kept any more."""
    again = delivery_redeliver(actor=request.auth, delivery=_delivery(request, slug, delivery_id))
    return HookDeliveryOut.of(again, _statuses(request, again))


def _statuses(request: ApiRequest, *deliveries: Delivery) -> dict[str, str]:
    made = [deployment for delivery in deliveries for deployment in delivery.answer.get("deployments", ())]
    return deployment_statuses(actor=request.auth, deployment_ids=made)


def _project(request: ApiRequest, slug: str) -> Project:
    return project_get(actor=request.auth, slug=slug)


def _delivery(request: ApiRequest, slug: str, delivery_id: str) -> Delivery:
    source = _project(request, slug).source
    return selectors.delivery_get(actor=request.auth, source=source, delivery_id=delivery_id)
