"""Requests that are taken back, so that thousands of them can be made of one world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from devflow.apps.accounts.limits import forget_all


@contextmanager
def undone() -> Iterator[None]:
    """What is changed within is taken back; limits begin anew."""
    forget_all()
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def told(answer: Any, sent: str) -> tuple[int, str]:
    """The status and what was answered, without what differs by nature: the value itself, ids, secrets, times."""
    text = answer.headers.get("Location", "") if answer.status_code == 302 else answer.getvalue().decode()
    text = text.replace(sent, "VALUE").replace(re.escape(sent), "VALUE")  # also as a pattern that is to be typed
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r'"id": "[0-9a-f]{12}"', "", text)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "RELEASE", text)
    text = re.sub(r"dfp_\w{6}", "PREFIX", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+\S*", "TIME", text)
    text = re.sub(r'data-mark="[\d.]+"', "MARK", text)  # up to when the page knows what changed
    text = re.sub(r"since=\d+\.\d+", "TIME", text)
    return answer.status_code, re.sub(r"[\w+/=-]{28,}", "SECRET", text)
