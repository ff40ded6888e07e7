"""Pages that wait for a worker: the address says since when, and a part of the page is asked for until it is done."""

from __future__ import annotations

import time
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

AT_MOST_SECONDS = 60


def redirect_and_wait(to: str, *args: str) -> HttpResponse:
    """To a page that waits for something newer than now."""
    return redirect(f"{reverse(to, args=args)}?since={time.time():.3f}")


def since(request: HttpRequest) -> float:
    """When it was asked for, in seconds since 1970; 0 where it was not (or nonsense is in the address)."""
    text = request.GET.get("since", "")
    return float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 20 else 0.0


def is_waiting(request: HttpRequest, done_at: datetime | None) -> bool:
    """Whether it is still to be waited for; never for longer than a minute."""
    asked_at = since(request)
    is_recent = 0 <= time.time() - asked_at < AT_MOST_SECONDS
    return is_recent and (done_at is None or done_at.timestamp() < asked_at)
