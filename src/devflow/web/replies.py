"""Ways in which views answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from devflow.core.errors import ConflictError, InvalidError
from devflow.web.forms.base import PanelForm


def form_page(request: HttpRequest, template: str, context: dict[str, Any], *forms: PanelForm) -> HttpResponse:
    """A page with forms: 422 where what was typed is refused, with the reasons at the fields."""
    refused = any(form.is_bound and form.errors for form in forms)
    return render(request, template, context, status=422 if refused else 200)


def act_and_go(
    request: HttpRequest, action: Callable[[], Any], *, done: str, to: str, args: tuple[Any, ...] = ()
) -> HttpResponse:
    """Does something that needs no form and goes on to a page, which says that it is done or why not."""
    try:
        action()
    except (ConflictError, InvalidError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
    return redirect(to, *args)
