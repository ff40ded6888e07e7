"""Lists page by cursor: `?limit=&cursor=`, answered as `{"items": […], "next": cursor or null}`."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Generic, TypeVar

from ninja import Query
from pydantic import BaseModel, Field

from devflow.core.errors import InvalidError

_NUL = "\0"

Row = TypeVar("Row")
Out = TypeVar("Out", bound=BaseModel)


class Page(BaseModel, Generic[Out]):
    """A page of a list; `next` is the cursor of the next page, null at the end."""

    items: list[Out]
    next: str | None


class Paging(BaseModel):
    limit: int = Field(50, ge=1, le=200, description="How many items at most.")
    cursor: str = Field("", max_length=1000, description="`next` of the page before.")

    @property
    def after(self) -> str:
        """The key of the last item that was seen; '' for the first page. Raises InvalidError."""
        try:
            key = base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError):
            key = _NUL
        if _NUL in key:  # the database takes no such text
            message = "This is no cursor: take `next` of the page before, or none."
            raise InvalidError(message, {"cursor": message})
        return key


PageQuery = Annotated[Paging, Query()]


def cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def cut(
    rows: Iterable[Row], paging: Paging, *, key: Callable[[Row], str], is_descending: bool = False
) -> tuple[list[Row], str | None]:
    """The rows of one page, in the order of `key`, and the cursor of the next page."""
    ordered = sorted(rows, key=key, reverse=is_descending)
    if after := paging.after:
        ordered = [row for row in ordered if (key(row) < after if is_descending else key(row) > after)]
    shown = ordered[: paging.limit]
    return shown, cursor(key(shown[-1])) if len(ordered) > len(shown) else None


def first(found: Sequence[Row], paging: Paging, *, key: Callable[[Row], str]) -> tuple[Sequence[Row], str | None]:
    """The same of rows that were read in their order after `paging.after`, one more than the page has."""
    shown = found[: paging.limit]
    return shown, cursor(key(shown[-1])) if len(found) > len(shown) else None
