"""Writes an archive: a ZIP with a JSON file for each table, the logs of deployments as text, and a file that explains.

Secrets are never in it: sealed columns, digests and keys are left out (decisions.py).
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_scopes import scopes_disabled

from devflow.apps.audit.models import Event as AuditEvent
from devflow.apps.audit.sealing import seal
from devflow.apps.audit.services import event_document
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.models import Event as DeploymentEvent
from devflow.apps.privacy.decisions import TABLES, Decision

_README = """\
All data of {kind} {subject} in DevFlow Pro, as of {at}.

tables/*.json  the rows of one table each, as a JSON array
logs/*.txt     the logs of deployments, by the deployment's id
audit.jsonl    the audit log, one event a line, where who asked for this may read it

Secrets (passwords, keys, tokens, values of variables) are not in it: the panel keeps them sealed.
"""
_AT_ONCE = 500
_OTHERS = {"address": "", "user_agent": "", "session": ""}
"""What one's own archive does not tell of somebody else, who did something to one's account."""


def archive_write(path: Path, *, kind: str, subject_id: UUID, subject: str, has_log: bool = True) -> int:
    """Writes the archive of the user, project or team, readable by the panel's own user alone; its size in bytes.

    `has_log`: with the audit log, which needs a right of its own.

    Read and written a part at a time, so that a large team needs no memory. Until it is whole it has another name.
    """
    unfinished = path.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            archive.writestr("README.txt", _README.format(kind=kind, subject=subject, at=now))
            with scopes_disabled():
                _write_tables(archive, kind, subject_id)
                if has_log:
                    _write_audit(archive, kind, subject_id)
                if kind != "user":
                    _write_logs(archive, kind, subject_id)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path.stat().st_size


def _write_tables(archive: zipfile.ZipFile, kind: str, subject_id: UUID) -> None:
    for model in apps.get_models(include_auto_created=True):
        table = model._meta.db_table
        decision = TABLES.get(table)
        wanted = _wanted(decision, kind, subject_id) if decision else None
        if decision is None or wanted is None or model in (AuditEvent, DeploymentEvent):
            continue
        fields = _fields(model, decision)
        rows = model._base_manager.filter(wanted).order_by("pk").distinct().values(*fields)
        with archive.open(f"tables/{table}.json", "w", force_zip64=True) as file:
            _write_array(file, rows.iterator(chunk_size=_AT_ONCE))


def _wanted(decision: Decision, kind: str, subject_id: UUID) -> Q | None:
    """The condition for the rows that belong to the subject; None where the table has none."""
    named = {"project": decision.project, "team": decision.team}.get(kind, "")
    lookups = decision.person if kind == "user" else tuple(filter(None, [named]))
    found: Q | None = None
    for lookup in lookups:
        one = Q(**{lookup: subject_id})
        found = one if found is None else found | one
    return found


def _fields(model: type[models.Model], decision: Decision) -> list[str]:
    fields = model._meta.concrete_fields
    return [
        each.attname for each in fields if not isinstance(each, models.BinaryField) and each.name not in decision.omit
    ]


def _write_array(file: IO[bytes], rows: Iterator[dict[str, Any]]) -> None:
    separator = b"[\n"
    for row in rows:
        file.write(separator + json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False).encode())
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _write_audit(archive: zipfile.ZipFile, kind: str, subject_id: UUID) -> None:
    """A team's is its whole chain, which `devflow audit verify` checks."""
    if kind == "team":
        seal(subject_id)
    wanted = {
        "user": Q(user_id=subject_id) | Q(target_id=str(subject_id)),
        "project": Q(project_id=subject_id),
        "team": Q(team_id=subject_id) & ~Q(seq=None),
    }[kind]
    order = "seq" if kind == "team" else "id"
    with archive.open("audit.jsonl", "w", force_zip64=True) as file:
        for event in AuditEvent.objects.filter(wanted).order_by(order).iterator(chunk_size=_AT_ONCE):
            document = event_document(event)
            if kind == "user" and event.user_id != subject_id:
                document |= _OTHERS
            file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")


def _write_logs(archive: zipfile.ZipFile, kind: str, subject_id: UUID) -> None:
    wanted = {f"{kind}_id": subject_id}
    for pk in Deployment.objects.filter(**wanted).order_by("pk").values_list("pk", flat=True).iterator():
        texts = DeploymentEvent.objects.filter(deployment_id=pk, kind="deployment.log").order_by("seq")
        with archive.open(f"logs/{pk}.txt", "w", force_zip64=True) as file:
            for text in texts.values_list("text", flat=True).iterator(chunk_size=_AT_ONCE):
                file.write(text.encode("utf-8", "replace"))
