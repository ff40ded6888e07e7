"""How a body is read: as JSON, of a bounded number of values."""

from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.parser import Parser
from ninja.types import DictStrAny

MOST_VALUES: Final = 10_000
"""In all lists and objects of one body; each that is wrong is an error of its own to whoever checks them."""


class BoundedParser(Parser):
    """Raises HttpError 413 for more."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        body = super().parse_body(request)
        if _has_more_than(MOST_VALUES, body):
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {MOST_VALUES:,} values.")
        return body


def _has_more_than(most: int, body: Any) -> bool:
    number, open_parts = 0, [body]
    while open_parts and number <= most:
        part = open_parts.pop()
        members = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        number += len(members)
        open_parts += [member for member in members if isinstance(member, dict | list)]
    return number > most
