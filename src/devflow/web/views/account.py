"""One's own account: second factors, passkeys, the browsers that are logged in."""

from __future__ import annotations

from allauth.account import views as allauth
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from devflow.apps.accounts import sessions
from devflow.apps.accounts.second_factor import factors_of, has_second_factor
from devflow.apps.accounts.selectors import SESSION_TEAM, team_list
from devflow.apps.accounts.services import keys_switch, language_choose
from devflow.apps.notifications.devices import device_list, push_key
from devflow.apps.told import told
from devflow.core.errors import InvalidError
from devflow.web.access import AccountRequest, account_page, recently_authenticated
from devflow.web.forms.people import NameForm
from devflow.web.language import language_asked
from devflow.web.replies import Undo, act_and_go, form_page, tell_done


@account_page("GET")
def account(request: AccountRequest) -> HttpResponse:
    return _page(request, NameForm(initial={"name": request.user.name}))


@account_page("POST")
def account_name(request: AccountRequest) -> HttpResponse:
    """How one is called."""
    before, form = request.user.name, NameForm(request.POST)
    if form.is_valid() and (saved := form.save(request.user)):
        undo = Undo(reverse("account-name"), {"name": before})
        said = _("You are called %(name)s now.") % {"name": saved}
        tell_done(request, said, undo if saved.name != before else None)
        return redirect("account")
    return _page(request, form)


@account_page("POST")
def account_keys(request: AccountRequest) -> HttpResponse:
    """Single keys on or off."""
    on = request.POST.get("on") == "yes"
    keys_switch(user=request.user, on=on)
    undo = Undo(reverse("account-keys"), {"on": "no" if on else "yes"})
    tell_done(request, _("Single keys are switched on.") if on else _("Single keys are switched off."), undo)
    return redirect("account")


@account_page("POST")
def account_language(request: AccountRequest) -> HttpResponse:
    """The language of the pages; what is said about it is in the new one already."""
    before, chosen = request.user.language, request.POST.get("language", "")
    try:
        language_choose(user=request.user, language=chosen)
    except InvalidError as error:
        messages.error(request, told(str(error)))
        return redirect("account")
    translation.activate(chosen or language_asked(request.headers.get("Accept-Language", "")))
    tell_done(request, _("The language is changed."), Undo(reverse("account-language"), {"language": before}))
    return redirect("account")


@account_page("POST")
@recently_authenticated
def session_end(request: AccountRequest, session_id: int) -> HttpResponse:
    return act_and_go(
        request,
        lambda: sessions.session_end(user=request.user, session_id=session_id),
        done=_("That browser is logged out."),
        to="account",
    )


@account_page("POST")
@recently_authenticated
def sessions_end(request: AccountRequest) -> HttpResponse:
    """All other browsers are logged out."""
    return act_and_go(
        request,
        lambda: sessions.sessions_end(user=request.user, but_key=request.session.session_key),
        done=_("All other browsers are logged out."),
        to="account",
    )


@account_page("GET")
def second_factor_wanted(request: AccountRequest) -> HttpResponse:
    """Where a member is led whose team wants a second factor, until there is one."""
    teams = team_list(user=request.user)
    current = next((team for team in teams if str(team.pk) == request.session.get(SESSION_TEAM)), None)
    wanting = current or (teams[0] if teams else None)
    if wanting is None or not wanting.requires_second_factor or has_second_factor(request.user):
        return redirect("dashboard")
    context = {"team": wanting, "others": [team for team in teams if team != wanting]}
    return render(request, "account/second_factor_wanted.html", context)


def _page(request: AccountRequest, form: NameForm) -> HttpResponse:
    user = request.user
    found = sessions.session_list(user=user, current_key=request.session.session_key)
    context = {
        "user": user,
        "form": form,
        "name_control": form["name"].as_widget(attrs={"class": "input"}),
        "has_password": user.has_usable_password(),
        "factors": factors_of(user),
        "sessions": found,
        "devices": device_list(user=user),
        "session_key": request.session.session_key,
        "push_key": push_key().public,
    }
    response = form_page(request, "account/page.html", context, form)
    response["Cache-Control"] = "no-store"
    return response


def password_change(request: HttpRequest) -> HttpResponseBase:
    """allauth's page; who has no password is led to the page Account, which says how to get one: by a link, as anybody
    does who cannot name the old one."""
    if request.user.is_authenticated and not request.user.has_usable_password():
        return redirect("account")
    answer: HttpResponseBase = allauth.password_change(request)
    return answer


def to_account(request: HttpRequest) -> HttpResponse:
    """allauth goes to pages of its own after changes; what they show is on the page Account."""
    return redirect("account")
