"""Dark, light, or as the system has it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from devflow.web.access import public_page

COOKIE = "theme"
THEMES = ("system", "light", "dark")
_YEAR_SECONDS = 365 * 24 * 3600


def theme_of(request: HttpRequest) -> str:
    """light or dark as chosen; system where nothing (or nonsense) was chosen."""
    chosen = request.COOKIES.get(COOKIE, "")
    return chosen if chosen in THEMES else "system"


@public_page("POST")
def theme(request: HttpRequest) -> HttpResponse:
    """Remembers the choice and goes back to the page it was made on."""
    back = request.META.get("HTTP_REFERER", "")
    is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    response = HttpResponseRedirect(back if is_ours else "/")
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie(
            COOKIE, chosen, max_age=_YEAR_SECONDS, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    return response
