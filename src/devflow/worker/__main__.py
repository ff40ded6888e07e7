"""The process of `devflow worker`."""

import os
import sys

import django
from django.db import DatabaseError

from devflow.core.errors import DevflowError
from devflow.core.garbage import settle
from devflow.settings.env import load_config
from devflow.settings.sentry import start_sentry


def main() -> int:
    """Sets Django up and works until it is told to stop; returns the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    try:
        django.setup()
        start_sentry(load_config(), "worker")
        from devflow.apps.accounts.keys import master_key_check  # models need Django to be set up
        from devflow.worker.main import run

        master_key_check()
    except (DevflowError, DatabaseError) as error:
        sys.stderr.write(f"devflow worker: {error}\n")
        return 1
    settle()
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
