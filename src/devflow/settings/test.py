"""Settings for tests: a throw-away data folder, a fast password hasher, the database of `tests/conftest.py`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from devflow.core.crypto import make_key_file

_folder = TemporaryDirectory(prefix="devflow-test-")
_key_file = Path(_folder.name) / "master.key"
make_key_file(_key_file)
os.environ |= {"DEVFLOW_DATA_DIR": _folder.name, "DEVFLOW_KEY_FILE": str(_key_file)}
# Where no DATABASE_URL is given, the tests put the address of their own PostgreSQL in this one's place.
os.environ.setdefault("DATABASE_URL", "postgresql://devflow@127.0.0.1:1/devflow")

from devflow.settings.web import *  # noqa: E402, F403
from devflow.settings.web import ALLOWED_HOSTS, DATABASES  # noqa: E402

ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
API_LIMIT_NOBODY = 0  # all tests have one address
ALLOW_PRIVATE_ADDRESSES = ("127.0.0.0/8",)  # where the tests' receivers are
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
WHITENOISE_AUTOREFRESH = True  # a test's client must not list all files first
DATABASES["default"]["OPTIONS"].pop("pool")  # a test's transaction is one connection's
DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
