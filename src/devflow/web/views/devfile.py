"""The published JSON Schema of devflow.yml, for editors."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse

from devflow.engine import devfile
from devflow.recipes import RECIPES
from devflow.web.access import public_page


@public_page("GET")
def schema(request: HttpRequest) -> JsonResponse:
    """Open to all, so that an editor can load it."""
    response = JsonResponse(devfile.schema(RECIPES), content_type="application/schema+json")
    response["Access-Control-Allow-Origin"] = "*"
    response["Cache-Control"] = "public, max-age=3600"
    return response
