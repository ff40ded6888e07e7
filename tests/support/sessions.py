"""Django's test client knows nothing of signed session cookies."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.test import client

from devflow.apps.accounts.session_store import SessionStore, session_cookie, session_key_of


def sign_cookies_of_test_clients() -> None:
    """From now on `force_login` gives the cookie that a log-in gives, and `session` finds the session of that."""
    mixin: Any = client.ClientMixin
    original = mixin._set_login_cookies

    def set_login_cookies(self: Any, request: HttpRequest) -> None:
        original(self, request)
        morsel = self.cookies[settings.SESSION_COOKIE_NAME]
        self.cookies[settings.SESSION_COOKIE_NAME] = session_cookie(morsel.value)

    def session(self: Any) -> SessionStore:
        request = HttpRequest()
        request.COOKIES = {key: morsel.value for key, morsel in self.cookies.items()}
        store = SessionStore(session_key_of(request))
        if store.session_key is None:
            store.save()
            self.cookies[settings.SESSION_COOKIE_NAME] = session_cookie(str(store.session_key))
        return store

    mixin._set_login_cookies = set_login_cookies
    mixin.session = property(session)
