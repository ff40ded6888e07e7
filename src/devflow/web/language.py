"""In which language a page is: as its reader chose on the page Account, else as the browser asks. Whatever is under
`/api/` is English: programs read it, and the command line shows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation.trans_real import parse_accept_lang_header

from devflow.apps.told import ENGLISH, catalog

API: Final = "/api/"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def language_asked(header: str) -> str:
    """The language of ours that an `Accept-Language` prefers; English where it names none of them."""
    for wanted, _ in parse_accept_lang_header(header):
        base = wanted.partition("-")[0]
        if base in dict(settings.LANGUAGES):
            return base
    return ENGLISH


def with_language(get_response: GetResponse) -> GetResponse:
    """Django's middleware, before all that may answer: the browser's language, English for the API."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(API):
            with translation.override(ENGLISH):
                return get_response(request)
        with translation.override(language_asked(request.headers.get("Accept-Language", ""))):
            response = get_response(request)
            patch_vary_headers(response, ["Accept-Language"])
            response.headers.setdefault("Content-Language", translation.get_language() or ENGLISH)
        return response

    return middleware


def with_chosen_language(get_response: GetResponse) -> GetResponse:
    """Django's middleware, once it is known who asks: the language that they chose. `with_language` is around it."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
        if has_session and not request.path.startswith(API) and request.user.is_authenticated:
            language = request.user.language
            if language in dict(settings.LANGUAGES):
                translation.activate(language)
        return get_response(request)

    return middleware


@cache
def script_texts(language: str) -> dict[str, str | list[str]]:
    """The texts of the scripts in a language, by the English ones; two forms for those that count.

    They travel in the page: some forty short lines cost less than a file that has to be asked for before the first
    script runs, and the English pages carry none.
    """
    texts: dict[str, str | list[str]] = {}
    for key, text in sorted(catalog(language, "djangojs").items(), key=str):
        if isinstance(key, tuple):
            texts[key[0]] = [*texts.get(key[0], []), text]
        elif key:
            texts[key] = text
    return texts
