"""What the git provider is told of deployments, and the access to its API that this takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Exists, OuterRef, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django_scopes import scope, scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.queue import MANUAL, WEBHOOK, enqueue
from devflow.apps.sources.api import APIS
from devflow.apps.sources.api.base import Access, ProviderApi, host_of, repository_of
from devflow.apps.sources.models import OPEN_REPORTS, Report, ReportStatus, Source
from devflow.apps.sources.providers import guess
from devflow.core import names
from devflow.core.errors import ConflictError, InvalidError

TAG_FIELDS = {
    "environment": "[a-z0-9-]+",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d{6}",
    "number": r"\d+",
    "commit": "[0-9a-f]{10}",
}
"""What a tag's format may hold, and how it looks in the tag."""
_BEING_SET = "The panel is setting it anew there; look again in a moment."
_REPORT = "sources.report"
_REPOSITORY = re.compile(r"[\w.~-]+(?:/[\w.~-]+)+")
_FIELD = re.compile(r"\{(\w*)\}")


def report(
    *,
    source: Source,
    deployment_id: UUID,
    environment: str,
    commit: str,
    state: str,
    description: str,
    url: str,
    branch: str = "",
) -> Report | None:
    """Queues a state of the deployment for the provider, in the caller's transaction; sends nothing itself.

    `state` is waiting, pending, success, failure or cancelled. None where there is nobody to tell: no access token,
    reports switched off, no commit known yet.
    """
    if not source.reports or not commit or not source.access_token_sealed or not provider_of(source):
        return None
    with scope(team=Team(pk=source.team_id)):
        row = Report.objects.create(
            team_id=source.team_id,
            source=source,
            deployment_id=deployment_id,
            environment=environment,
            context=f"devflow/{source.project.slug}/{environment}",
            branch=branch,
            commit=commit,
            state=state,
            description=description[:300],
            url=url,
            next_attempt_at=timezone.now(),
        )
    enqueue(_REPORT, source_id=str(source.pk))
    return row


def reports_adopt(*, limit: int = 50) -> None:
    """Queues a job for each source with something due that none carries: its wait is over, or its job was lost."""
    jobs = ProcrastinateJob.objects.filter(task_name=_REPORT, status__in=["todo", "doing"])
    carrying = jobs.annotate(source=KeyTextTransform("source_id", "args"))
    carried = Exists(carrying.filter(source=Cast(OuterRef("source_id"), TextField())))
    with scopes_disabled():
        due = Report.objects.filter(~carried, status__in=OPEN_REPORTS, next_attempt_at__lte=timezone.now())
        for source_id in due.order_by("source_id").values_list("source_id", flat=True).distinct()[:limit]:
            enqueue(_REPORT, priority=WEBHOOK, source_id=str(source_id))


def report_list(*, actor: Actor, deployment_id: UUID) -> list[Report]:
    """What the provider was and is to be told of a deployment, the oldest first."""
    with scope(team=actor.team):
        return list(Report.objects.filter(deployment_id=deployment_id).select_related("source"))


def report_last(*, actor: Actor, deployment_id: UUID) -> Report | None:
    """The newest that is of interest: what a newer one made needless is not."""
    told = [row for row in report_list(actor=actor, deployment_id=deployment_id) if row.status != ReportStatus.SKIPPED]
    return told[-1] if told else None


def source_update(
    *,
    actor: Actor,
    source: Source,
    api_url: str | None = None,
    access_token: str | None = None,
    repository: str | None = None,
    reports: bool | None = None,
    tag_format: str | None = None,
) -> Source:
    """Changes what is given; an access token of '' is forgotten. With an API on another host it must be given
    again: the one that is kept is for the host before. Raises ForbiddenError, InvalidError."""
    actor.require(rights.MANAGE, source)
    with transaction.atomic(), scope(team=actor.team):
        row = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        if api_url is not None:
            before = access_home(row)
            row.api_url = _api_url(api_url)
            if row.access_token_sealed and access_token is None and access_home(row) != before:
                message = "The API is on another host now: give the access token for it, too."
                raise InvalidError(message, {"access_token": message})
        if access_token is not None:
            row.access_token = _token(access_token)
        if repository is not None:
            row.repository = _repository(repository)
        if reports is not None:
            row.reports = reports
        if tag_format is not None:
            row.tag_format = _tag_format(tag_format)
        changed = ["api_url", "access_token_sealed", "repository", "reports", "tag_format"]
        row.save(update_fields=changed)
        told = {"api_url": row.api_url, "repository": row.repository, "reports": row.reports, "tags": row.tag_format}
        new_token = {} if access_token is None else {"has_token": bool(access_token), "is_token_new": True}
        audit_record(
            team=actor.team,
            actor=actor,
            action="source.changed",
            target=row.repository or row.provider,
            target_id=str(row.pk),
            project_id=row.place.project_id,
            after=told | new_token,
        )
    for field in changed:
        setattr(source, field, getattr(row, field))
    return source


def source_moved(*, source_id: UUID, repository_url: str) -> Source:
    """The source of a project whose repository is at this address from now on; its access token is forgotten where it
    was for another host. In the caller's transaction and scope, before the project is saved."""
    source = Source.objects.select_for_update(no_key=True, of=("self",)).select_related("project").get(pk=source_id)
    home = access_home(source)
    source.project.repository = repository_url
    if token_forget_elsewhere(source, home):
        source.save(update_fields=["access_token_sealed"])
    return source


def source_test(*, actor: Actor, source: Source) -> str:
    """Asks the provider for the repository; returns its name there.

    Raises ForbiddenError, ConflictError (no access is set up), OutgoingError (the provider refuses, or is away).
    """
    actor.require(rights.MANAGE, source)
    api, access = access_of(source)
    return async_to_sync(api.check)(access) or access.repository


def hook_create(*, actor: Actor, source: Source) -> None:
    """Has a worker make the webhook at the provider; what comes of it is in `hook_id` or `hook_problem`.

    Raises ForbiddenError, ConflictError (no access is set up, no provider is chosen for the webhook).
    """
    actor.require(rights.MANAGE, source)
    access_of(source)
    if not source.provider or not source.hook_secret_sealed:
        raise ConflictError("Choose the provider of the webhook first: then there are an address and a secret for it.")
    with transaction.atomic(), scope(team=actor.team):
        row = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        # one that is there already is set anew, and known as ours all the while: nobody is to make a second one
        row.hook_problem = _BEING_SET if row.hook_id else ""
        row.save(update_fields=["hook_problem"])
        enqueue("sources.create_hook", lock=f"hook:{source.pk}", priority=MANUAL, source_id=str(source.pk))
    source.hook_id, source.hook_problem = row.hook_id, row.hook_problem


def provider_of(source: Source) -> str:
    """The name of the provider: the webhook's, else what the repository's address tells; '' where it tells nothing."""
    name = source.provider or guess(_address_of(source))
    return name if name in APIS else ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is in force, set or guessed; '' where it is not known."""

    provider: str
    title: str
    api_url: str
    repository: str
    token_help: str


def source_shown(source: Source | None, repository_url: str) -> Shown:
    """The access of a project with this repository, before there is a source, too."""
    name = provider_of(source) if source else guess(repository_url)
    name = name if name in APIS else ""
    repository = (source.repository if source else "") or repository_of(repository_url)
    if not name:
        return Shown("", "", source.api_url if source else "", repository, "")
    api = APIS[name]
    base = api.base_url(source.api_url if source else "", repository_url)
    return Shown(name, api.title, base, repository, api.token_help)


def access_home(source: Source) -> tuple[str, str]:
    """The scheme and the host that the access token is for, as far as they are known: it is sent to no other."""
    name, address = provider_of(source), _address_of(source)
    host = host_of(address)
    known = f"https://{host}" if host else ""
    parts = urlsplit(APIS[name].base_url(source.api_url, address) if name else source.api_url or known)
    return parts.scheme, parts.netloc.lower()


def token_forget_elsewhere(source: Source, home: tuple[str, str]) -> bool:
    """Forgets the access token where it would now be sent to another host than `home`, which it was given for: else
    whoever may change a repository's address could have it sent to their own. True where one is forgotten; the caller
    saves the row."""
    if not source.access_token_sealed or not home[1] or access_home(source) == home:
        return False
    source.access_token = ""
    return True


def access_of(source: Source) -> tuple[ProviderApi, Access]:
    """Raises ConflictError with what is missing."""
    name = provider_of(source)
    if not name:
        raise ConflictError("Choose the git provider first: the repository's address does not tell which it is.")
    if not source.access_token_sealed:
        raise ConflictError("There is no access token yet.")
    repository = source.repository or repository_of(_address_of(source))
    if not repository:
        raise ConflictError("Name the repository, like team/app: its address does not tell its name at the provider.")
    url = APIS[name].base_url(source.api_url, _address_of(source))
    return APIS[name], Access(url=url, token=source.access_token, repository=repository)


def tag_name(source: Source, row: Report, number: int) -> str:
    """The name of the tag for a successful deployment."""
    at = row.created_at
    values = {
        "environment": row.environment,
        "date": f"{at:%Y-%m-%d}",
        "time": f"{at:%H%M%S}",
        "number": str(number),
        "commit": row.commit[:10],
    }
    return _FIELD.sub(lambda match: values[match[1]], source.tag_format)


def is_own_tag(source: Source, name: str) -> bool:
    """Whether the tag is one that the panel makes: its push is no reason to deploy."""
    if not source.tag_format or not source.access_token_sealed:
        return False
    pattern = "".join(
        TAG_FIELDS[part] if number % 2 else re.escape(part)
        for number, part in enumerate(_FIELD.split(source.tag_format))
    )
    return bool(re.fullmatch(pattern, name))


def _address_of(source: Source) -> str:
    return str(source.project.repository)


def _api_url(value: str) -> str:
    value = value.strip().rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        is_right = parts.scheme in ("https", "http") and bool(parts.hostname)
        is_right &= not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        is_right = False
    if not is_right or len(value) > 500 or any(ord(char) < 33 or ord(char) == 127 for char in value):
        message = "Give the base of the API, like https://gitlab.example.com/api/v4, without a token in it."
        raise InvalidError(message, {"api_url": message})
    return value


def _token(value: str) -> str:
    value = value.strip()
    if len(value) > 1000 or not value.isascii() or not value.isprintable() or " " in value:
        message = "An access token is one word of at most 1,000 ASCII characters."
        raise InvalidError(message, {"access_token": message})
    return value


def _repository(value: str) -> str:
    value = value.strip().strip("/").removesuffix(".git")
    is_path = _REPOSITORY.fullmatch(value) and not {".", ".."} & set(value.split("/"))
    if value and (not is_path or len(value) > 500):
        message = "Give the repository's name at the provider, like team/app."
        raise InvalidError(message, {"repository": message})
    return value


def _tag_format(value: str) -> str:
    value = value.strip()
    if not value:
        return ""
    unknown = [name for name in _FIELD.findall(value) if name not in TAG_FIELDS]
    if unknown or len(value) > 200 or not {"number", "time"} & set(_FIELD.findall(value)):
        told = ", ".join(f"{{{name}}}" for name in TAG_FIELDS)
        message = (
            f"Use {told}; with {{number}} or {{time}} each tag is another, like deployed-{{environment}}-{{number}}."
        )
        raise InvalidError(message, {"tag_format": message})
    try:
        names.branch(_FIELD.sub("1", value), "tag_format")
    except InvalidError:
        message = "This makes no name that git allows for a tag. Use letters, digits, - and /."
        raise InvalidError(message, {"tag_format": message}) from None
    return value
