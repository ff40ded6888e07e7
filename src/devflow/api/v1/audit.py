"""The audit log, and which requests this API answered. All of it needs the right `audit`."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from django.http import StreamingHttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest as Request
from devflow.api.auth import require_recent
from devflow.api.paging import Page, PageQuery, cursor
from devflow.api.schemas import Moment
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit import selectors
from devflow.apps.audit.models import ApiRequest, Event
from devflow.apps.audit.selectors import Filters
from devflow.apps.projects.selectors import project_get

router = Router(tags=["audit"])
_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv"}


class AuditFilters(BaseModel):
    who: str = Field("", max_length=200, description="A part of the e-mail address, or of the token's name.")
    action: str = Field("", max_length=60, description="An action, or what stands before its dot.", examples=["token"])
    project: str = Field("", max_length=63, description="Slug of a project.")
    since: Moment | None = Field(None, description="From this time on.")
    until: Moment | None = Field(None, description="Before this time.")
    address: str = Field("", max_length=45, description="The beginning of the address.")
    text: str = Field("", max_length=200, description="Looked for in what was done, and to what.")
    panel: bool = Field(False, description="The panel's own log, for who looks after the panel.")

    def chosen(self, actor: Actor) -> Filters:
        return Filters(
            who=self.who,
            action=self.action,
            project_id=project_get(actor=actor, slug=self.project).pk if self.project else None,
            since=self.since,
            until=self.until,
            address=self.address,
            text=self.text,
            is_panel=self.panel,
        )


FilterQuery = Annotated[AuditFilters, Query()]


class EventOut(BaseModel):
    """`outcome` is done, refused or failed. `who` is null where it was erased with the person's account. `seq` and
    `hash` are null until the event has its place in the chain, seconds later."""

    id: UUID
    at: datetime
    action: str
    outcome: str
    who: str | None
    token: str | None
    address: str | None
    user_agent: str | None
    session: str | None
    target: str | None
    target_id: str | None
    project_id: UUID | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    seq: int | None
    hash: str | None

    @classmethod
    def of(cls, event: Event) -> Self:
        texts = ("who", "token", "address", "user_agent", "session", "target", "target_id", "hash")
        return cls(
            id=event.pk,
            at=event.at,
            action=event.action,
            outcome=event.outcome,
            project_id=event.project_id,
            before=event.before,
            after=event.after,
            seq=event.seq,
            **{name: getattr(event, name) or None for name in texts},
        )


class VerdictOut(BaseModel):
    """`is_whole`: nothing was changed, removed or put in between. `head` is the hash of the last event."""

    is_whole: bool
    events: int
    erased: int = Field(description="So many parts of events were erased with accounts, as the chain tells.")
    head: str
    problems: list[str]


class RequestOut(BaseModel):
    at: datetime
    method: str
    route: str
    status: int
    duration_ms: float
    address: str | None
    user_id: UUID | None
    token_id: UUID | None

    @classmethod
    def of(cls, row: ApiRequest) -> Self:
        fields = ("at", "method", "route", "status", "duration_ms", "user_id", "token_id")
        return cls(address=row.address or None, **{name: getattr(row, name) for name in fields})


@router.get("audit", response=Page[EventOut])
def audit_list(request: Request, paging: PageQuery, filters: FilterQuery) -> Page[EventOut]:
    """Who did what to what, from where: the newest first."""
    found = selectors.event_list(
        actor=request.auth, filters=filters.chosen(request.auth), before=paging.after, limit=paging.limit + 1
    )
    rows = found[: paging.limit]
    following = cursor(str(rows[-1].pk)) if len(found) > len(rows) else None
    return Page[EventOut](items=[EventOut.of(event) for event in rows], next=following)


@router.get(
    "audit/export",
    response={200: None},
    openapi_extra={"responses": {200: {"content": {kind: {} for kind in _TYPES.values()}}}},
)
def audit_export(
    request: Request,
    filters: FilterQuery,
    format: Literal["jsonl", "csv"] = "jsonl",  # noqa: A002 - the API's name
) -> StreamingHttpResponse:
    """The events in the order of the chain. JSON lines without filters are the whole chain: `devflow audit verify`."""
    require_recent(request)
    lines = selectors.event_export(actor=request.auth, filters=filters.chosen(request.auth), form=format)
    kind = f"{_TYPES[format]}; charset=utf-8"
    return StreamingHttpResponse(lines, content_type=kind, headers={"Cache-Control": "no-store"})


@router.get("audit/verify", response=VerdictOut)
def audit_verify(request: Request, panel: bool = False) -> VerdictOut:
    """Recomputes the whole chain."""
    verdict = selectors.chain_verify(actor=request.auth, is_panel=panel)
    return VerdictOut(
        is_whole=not verdict.problems,
        events=verdict.events,
        erased=verdict.erased,
        head=verdict.last_hash,
        problems=verdict.problems,
    )


@router.get("audit/requests", response=Page[RequestOut])
def audit_requests(request: Request, paging: PageQuery, status: str = "", route: str = "") -> Page[RequestOut]:
    """Which requests the API answered, the newest first. `status` is a number, or a class like 4xx."""
    found = selectors.request_list(
        actor=request.auth, before=paging.after, status=status, route=route, limit=paging.limit + 1
    )
    rows = found[: paging.limit]
    following = cursor(str(rows[-1].pk)) if len(found) > len(rows) else None
    return Page[RequestOut](items=[RequestOut.of(row) for row in rows], next=following)


@router.get("audit/{event_id}", response=EventOut)
def audit_show(request: Request, event_id: str) -> EventOut:
    return EventOut.of(selectors.event_get(actor=request.auth, event_id=event_id))
