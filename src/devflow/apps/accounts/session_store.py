"""Log-in sessions, kept so that a copy of the database opens none: the cookie has a signature that is not kept, and
what a session holds is sealed.

The database has them. With `REDIS_URL` they are read from there for some seconds before the database is asked again: so
one that was ended while Redis could not be told so opens nothing for long.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.middleware import SessionMiddleware as DjangoMiddleware
from django.core.cache import caches
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from devflow.apps.sealed import vault
from devflow.core.crypto import SealError

CACHED_SECONDS: Final = 30
_SIGNER: Final = "devflow-session"


def session_cookie(key: str) -> str:
    """What the browser of the session with this key has in its cookie."""
    return Signer(sep=".", salt=_SIGNER).sign(key)


def session_key_of(request: HttpRequest) -> str | None:
    """The key of the session that the request's cookie is of; None where it is of none."""
    try:
        return Signer(sep=".", salt=_SIGNER).unsign(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
    except BadSignature:
        return None


def session_context(key: str | None) -> bytes:
    """The associated data of a session's data."""
    return f"django_session:session_data:{key}".encode()


class SessionStore(DatabaseStore):
    """The data of a session lies in the database (and in Redis) sealed, for its row only."""

    def load(self) -> dict[str, Any]:
        cached = caches["sessions"].get(self.session_key) if self.session_key else None
        if isinstance(cached, str) and (data := self.decode(cached)):
            return data
        now = timezone.now()
        row = self.model.objects.filter(session_key=self.session_key, expire_date__gt=now).first()
        if row is None:
            self._session_key = None
            return {}
        data = self.decode(row.session_data)
        if data:
            self._keep(row.session_data, (row.expire_date - now).total_seconds())
        return data

    def save(self, must_create: bool = False) -> None:
        """Others read it anew: also where the transaction that this is in is rolled back."""
        super().save(must_create=must_create)
        self._forget(self.session_key)

    def delete(self, session_key: str | None = None) -> None:
        super().delete(session_key)
        self._forget(session_key or self.session_key)

    def _keep(self, sealed: str, seconds: float) -> None:
        if seconds >= 1:
            caches["sessions"].set(self.session_key, sealed, min(CACHED_SECONDS, int(seconds)))

    @staticmethod
    def _forget(session_key: str | None) -> None:
        if session_key:
            caches["sessions"].delete(session_key)

    def encode(self, session_dict: dict[str, Any]) -> str:
        data = self.serializer().dumps(session_dict)
        return b64encode(vault().seal(data, session_context(self.session_key))).decode()

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """An empty session where it cannot be opened: its person logs in again."""
        try:
            data: dict[str, Any] = self.serializer().loads(
                vault().open(b64decode(session_data), session_context(self.session_key))
            )
        except (SealError, ValueError):
            return {}
        return data


class SessionMiddleware(DjangoMiddleware):
    """Signs the cookie, and takes only one that is signed."""

    def process_request(self, request: HttpRequest) -> None:
        request.session = self.SessionStore(session_key_of(request))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response = super().process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value:
            response.cookies[settings.SESSION_COOKIE_NAME] = session_cookie(cookie.value)
        return response
