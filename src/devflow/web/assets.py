"""Styles and scripts that `npm run build` made: each under a name with the hash of its content."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

BUILD = Path(__file__).parent / "static" / "build"


def asset_url(name: str) -> str:
    """The address of `app.css` and its like. Raises ImproperlyConfigured when the pages are not built."""
    return static(f"build/{_built(name)}")


def asset_text(name: str) -> str:
    """What the built file says. Raises ImproperlyConfigured when the pages are not built."""
    return (BUILD / _built(name)).read_text("utf-8")


def _built(name: str) -> str:
    manifest = _read_manifest() if settings.DEBUG else _manifest()
    try:
        return manifest[name]
    except KeyError:
        raise ImproperlyConfigured(
            f"{name} is not among the built files of the pages: run `npm run build` again."
        ) from None


@cache
def _manifest() -> dict[str, str]:
    return _read_manifest()


def _read_manifest() -> dict[str, str]:
    try:
        manifest: dict[str, str] = json.loads((BUILD / "manifest.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ImproperlyConfigured(
            "The pages' styles and scripts are not built: run `npm ci && npm run build`."
        ) from None
    return manifest
