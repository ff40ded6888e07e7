"""Settings of the web process: what worker and commands need not load comes on top."""

from devflow.settings.base import *  # noqa: F403
from devflow.settings.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "ninja"]  # the API's documentation page is served from its static files
