"""Ways in which views answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from devflow.apps.told import told
from devflow.core.errors import ConflictError, InvalidError
from devflow.web.forms.base import PanelForm


@dataclass(frozen=True, slots=True)
class Undo:
    """The form that takes something back: its address, and what it sends."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


def tell_done(request: HttpRequest, text: str, undo: Undo | None = None) -> None:
    """Has the next page say what was done, with a button that takes it back where that is possible."""
    messages.success(request, text, extra_tags=json.dumps(asdict(undo)) if undo else "")


def undo_read(tags: str) -> dict[str, Any] | None:
    """The `Undo` that a message carries: messages are kept in the session, which nobody else writes."""
    return json.loads(tags) if tags.startswith("{") else None


def form_page(request: HttpRequest, template: str, context: dict[str, Any], *forms: PanelForm) -> HttpResponse:
    """A page with forms: 422 where what was typed is refused, with the reasons at the fields."""
    refused = any(form.is_bound and form.errors for form in forms)
    return render(request, template, context, status=422 if refused else 200)


def act_and_go(
    request: HttpRequest,
    action: Callable[[], Any],
    *,
    done: str,
    to: str,
    args: tuple[Any, ...] = (),
    undo: Callable[[], Undo] | None = None,
) -> HttpResponse:
    """Does something that needs no form and goes on to a page, which says that it is done or why not.

    `undo` tells, once it is done, how it is taken back.
    """
    try:
        action()
    except (ConflictError, InvalidError) as error:
        messages.error(request, told(str(error)))
    else:
        tell_done(request, done, undo() if undo else None)
    return redirect(to, *args)
