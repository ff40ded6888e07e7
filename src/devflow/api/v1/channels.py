"""Channels: where the team is told what happens, and what was sent there."""

from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from django.conf import settings
from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, cursor, cut
from devflow.api.schemas import UNCHANGED, Input
from devflow.apps.accounts.rights import Actor
from devflow.apps.notifications import selectors, services
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels import base as kinds
from devflow.apps.notifications.events import EVENTS, default_events
from devflow.apps.notifications.models import Channel, Notification
from devflow.apps.projects.selectors import project_get
from devflow.apps.told import ENGLISH

router = Router(tags=["channels"])

_JSON_TYPES: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "address": {"type": "string", "format": "uri"},
    "number": {"type": "integer"},
    "choice": {"type": "string"},
    "emails": {"type": "array", "items": {"type": "string", "format": "email"}},
}


def _setting_schema(field: kinds.Field) -> dict[str, Any]:
    schema: dict[str, Any] = {**_JSON_TYPES[field.type], "title": field.label}
    if field.help:
        schema["description"] = field.help
    if field.choices:
        schema["enum"] = [value for value, _ in field.choices]
    if field.default != "":
        schema["default"] = field.default
    if field.is_secret:
        schema["writeOnly"] = True
    return schema


def _settings_schema(kind: kinds.ChannelKind) -> dict[str, Any]:
    """The JSON Schema of a kind's settings, made from its fields."""
    return {
        "type": "object",
        "title": f"Settings of the kind {kind.name}",
        "properties": {field.name: _setting_schema(field) for field in kind.fields},
        "required": [field.name for field in kind.fields if field.is_required],
        "additionalProperties": False,
    }


_SETTINGS: Final[dict[str, Any]] = {"anyOf": [_settings_schema(kind) for kind in CHANNELS.values()]}


_LANGUAGES: Final[dict[str, Any]] = {"enum": [language for language, _ in settings.LANGUAGES]}


class ChannelIn(Input):
    kind: str = Field(json_schema_extra={"enum": list(CHANNELS)}, examples=["slack"])
    name: str = Field(examples=["#deployments"])
    settings: dict[str, Any] = Field(description="Those of the kind.", json_schema_extra=_SETTINGS)
    project: str | None = Field(None, description="Slug of the one project that it is told of; null for all.")
    events: list[str] = Field(default_factory=default_events, json_schema_extra={"items": {"enum": list(EVENTS)}})
    language: str = Field(ENGLISH, json_schema_extra=_LANGUAGES, description="Of what is written for people.")


class ChannelPatch(Input):
    name: str = UNCHANGED
    settings: dict[str, Any] = Field(
        UNCHANGED,
        description="Only those that change; a secret that is left out or empty stays, null forgets it.",
    )
    project: str | None = Field(None, description="Slug of a project; null for all.")
    events: list[str] = UNCHANGED
    language: str = Field(UNCHANGED, json_schema_extra=_LANGUAGES)
    is_enabled: bool = UNCHANGED


class ChannelOut(BaseModel):
    """`address` is what may be shown of where it goes; `problem` why its service refused the last message for good."""

    id: UUID
    name: str
    kind: str
    address: str
    project: str | None
    events: list[str]
    language: str
    is_enabled: bool
    problem: str | None
    failing_since: datetime | None = Field(description="Since when a message is tried again and again.")
    pending: int = Field(description="How many messages wait to be sent.")
    created_at: datetime

    @classmethod
    def of(cls, channel: Channel, /, **more: Any) -> Self:
        return cls(
            id=channel.pk,
            name=channel.name,
            kind=channel.kind,
            address=channel.address,
            project=channel.project.slug if channel.project else None,
            events=channel.events,
            language=channel.language,
            is_enabled=channel.is_enabled,
            problem=channel.problem or None,
            failing_since=channel.failing_since,
            pending=channel.pending,
            created_at=channel.created_at,
            **more,
        )


class ChannelCreated(ChannelOut):
    generated: dict[str, str] = Field(description="Secrets that the panel made, by setting; they are not shown again.")


class ChannelDeliveryOut(BaseModel):
    """A message on a channel. `status` is pending, sending, sent or failed; `response_status` the service's answer."""

    id: UUID
    event: str
    title: str
    status: str
    attempts: int
    response_status: int | None
    error: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Notification) -> Self:
        return cls(
            id=row.pk,
            event=row.event,
            title=row.message.get("title", ""),
            status=row.status,
            attempts=row.attempts,
            response_status=row.response_status,
            error=row.error or None,
            created_at=row.created_at,
            next_attempt_at=None if row.finished_at else row.next_attempt_at,
            finished_at=row.finished_at,
        )


class ChannelSettingOut(BaseModel):
    name: str
    label: str
    type: str
    help: str
    is_required: bool
    is_secret: bool
    is_generated: bool
    default: str | int
    choices: list[str]

    @classmethod
    def of(cls, field: kinds.Field) -> Self:
        return cls(
            name=field.name,
            label=field.label,
            type=field.type,
            help=field.help,
            is_required=field.is_required,
            is_secret=field.is_secret,
            is_generated=field.is_generated,
            default=field.default,
            choices=[value for value, _ in field.choices],
        )


class ChannelKindOut(BaseModel):
    kind: str
    title: str
    summary: str
    settings: list[ChannelSettingOut]


class ChannelEventOut(BaseModel):
    event: str
    title: str
    is_default: bool = Field(description="A new channel is told of it.")


class ChannelChoices(BaseModel):
    kinds: list[ChannelKindOut]
    events: list[ChannelEventOut]


@router.get("channel-kinds", response=ChannelChoices)
def channel_kinds(request: ApiRequest) -> ChannelChoices:
    """The kinds of channels with their settings, and the events that a channel may be told of."""
    return ChannelChoices(
        kinds=[
            ChannelKindOut(
                kind=kind.name,
                title=kind.title,
                summary=kind.summary,
                settings=[ChannelSettingOut.of(field) for field in kind.fields],
            )
            for kind in CHANNELS.values()
        ],
        events=[
            ChannelEventOut(event=name, title=each.title, is_default=each.is_default) for name, each in EVENTS.items()
        ],
    )


@router.get("channels", response=Page[ChannelOut])
def channel_list(request: ApiRequest, paging: PageQuery, project: str = "") -> Page[ChannelOut]:
    """The team's channels by name; with `project` those that are told of it."""
    project_id = _project_id(request.auth, project or None)
    found = selectors.channel_list(actor=request.auth, project_id=project_id)
    rows, following = cut(found, paging, key=lambda channel: channel.name)
    return Page[ChannelOut](items=[ChannelOut.of(channel) for channel in rows], next=following)


@router.post("channels", response={201: ChannelCreated})
def channel_add(request: ApiRequest, payload: ChannelIn) -> ChannelCreated:
    """Adds a channel. Send a test to it then."""
    require_recent(request)
    channel, made = services.channel_add(
        actor=request.auth,
        kind=payload.kind,
        name=payload.name,
        settings=payload.settings,
        project_id=_project_id(request.auth, payload.project),
        events=payload.events,
        language=payload.language,
    )
    return ChannelCreated.of(_channel(request, str(channel.pk)), generated=made)


@router.get("channels/{channel}", response=ChannelOut)
def channel_show(request: ApiRequest, channel: str) -> ChannelOut:
    """By its id or its name."""
    return ChannelOut.of(_channel(request, channel))


@router.patch("channels/{channel}", response=ChannelOut)
def channel_update(request: ApiRequest, channel: str, payload: ChannelPatch) -> ChannelOut:
    """Changes what is sent."""
    require_recent(request)
    found, given = _channel(request, channel), payload.given()
    if "project" in given:
        given["project_id"] = _project_id(request.auth, given.pop("project"))
    services.channel_update(actor=request.auth, channel=found, **given)
    return ChannelOut.of(_channel(request, str(found.pk)))


@router.delete("channels/{channel}", response={204: None})
def channel_remove(request: ApiRequest, channel: str) -> None:
    """Forgets the channel, and what was sent on it."""
    services.channel_remove(actor=request.auth, channel=_channel(request, channel))


@router.post("channels/{channel}/test", response={202: ChannelDeliveryOut})
def channel_test(request: ApiRequest, channel: str) -> ChannelDeliveryOut:
    """Has a test message sent at once; the outcome is in the delivery."""
    return ChannelDeliveryOut.of(services.channel_test(actor=request.auth, channel=_channel(request, channel)))


@router.get("channels/{channel}/deliveries", response=Page[ChannelDeliveryOut])
def channel_delivery_list(request: ApiRequest, channel: str, paging: PageQuery) -> Page[ChannelDeliveryOut]:
    """What was or is to be sent on the channel, the newest first. Kept for 30 days."""
    found = selectors.notification_list(
        actor=request.auth, channel=_channel(request, channel), before=paging.after, limit=paging.limit + 1
    )
    rows = found[: paging.limit]
    following = cursor(str(rows[-1].pk)) if len(found) > len(rows) else None
    return Page[ChannelDeliveryOut](items=[ChannelDeliveryOut.of(row) for row in rows], next=following)


@router.get("channels/{channel}/deliveries/{delivery}", response=ChannelDeliveryOut)
def channel_delivery_show(request: ApiRequest, channel: str, delivery: str) -> ChannelDeliveryOut:
    return ChannelDeliveryOut.of(_delivery(request, channel, delivery))


@router.post("channels/{channel}/deliveries/{delivery}/retry", response={202: ChannelDeliveryOut})
def channel_delivery_retry(request: ApiRequest, channel: str, delivery: str) -> ChannelDeliveryOut:
    """Tries a delivery that failed, or that waits for its next attempt, again now. 409 when it was sent."""
    row = _delivery(request, channel, delivery)
    return ChannelDeliveryOut.of(services.notification_retry(actor=request.auth, notification=row))


def _channel(request: ApiRequest, channel: str) -> Channel:
    return selectors.channel_get(actor=request.auth, channel_id=channel)


def _delivery(request: ApiRequest, channel: str, delivery: str) -> Notification:
    return selectors.notification_get(actor=request.auth, channel=_channel(request, channel), notification_id=delivery)


def _project_id(actor: Actor, slug: str | None) -> UUID | None:
    return project_get(actor=actor, slug=slug).pk if slug is not None else None
