"""The set-up page: makes the first user, once, for who holds the token that `devflow up` printed."""

from __future__ import annotations

from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts.selectors import setup_token_valid
from devflow.web.access import public_page
from devflow.web.forms.setup import SetupForm
from devflow.web.replies import form_page


@sensitive_post_parameters("password")
@public_page("GET", "POST")
def setup(request: HttpRequest) -> HttpResponse:
    token = request.GET.get("token", "")
    if not setup_token_valid(raw=token):
        return render(request, "setup/refused.html", status=403)
    form = SetupForm(request.POST or None)
    if form.is_valid() and (user := form.save(token)):
        record_authentication(request, user, method="password")
        login(request, user)
        return redirect("dashboard")
    return form_page(request, "setup/page.html", {"form": form}, form)
