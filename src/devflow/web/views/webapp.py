"""What makes the panel an app: the script that works for pages in the background, and the page without a network."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.template import loader

from devflow.web.access import public_page
from devflow.web.assets import asset_text
from devflow.web.views.theme import theme_of


@public_page("GET")
def service_worker(request: HttpRequest) -> HttpResponse:
    """At the root, since a service worker works for what is below its own address only."""
    return HttpResponse(_service_worker(), content_type="text/javascript; charset=utf-8")


@public_page("GET")
def offline(request: HttpRequest) -> HttpResponse:
    """Kept by the service worker, so it tells nothing of anybody, whoever asks for it."""
    return HttpResponse(loader.render_to_string("webapp/offline.html", {"theme": theme_of(request)}))


@cache
def _service_worker() -> str:
    return asset_text("service-worker.js")
