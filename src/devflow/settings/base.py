"""Django settings, built from `settings.env`. Nothing is set here that a user may want to set: that is in `env.py`."""

import os
from pathlib import Path
from typing import Final

from devflow.core.crypto import MasterKeyError, derive_key
from devflow.settings.cache import cache_settings
from devflow.settings.database import database_settings, replica_settings
from devflow.settings.email import email_settings
from devflow.settings.env import KEY_VARIABLE, Config, load_config
from devflow.settings.keys import MasterKeys
from devflow.settings.log import LOGGING as LOGGING

WEB_THREADS: Final = 8


def _master_keys(config: Config) -> MasterKeys:
    """Never makes a key: with a second one, what is stored could not be read any more."""
    if config.master_key is None and config.key_command is None and not config.key_file.exists():
        raise MasterKeyError(
            f"There is no master key at {config.key_file}: start `devflow up` once, or set DEVFLOW_KEY_FILE."
        )
    return MasterKeys(config)


config = load_config()

# --- Applications -----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "devflow.web",  # before allauth, whose templates it replaces
    "devflow.apps.accounts",
    "devflow.apps.audit",
    "devflow.apps.notifications",
    "devflow.apps.sources",
    "devflow.apps.servers",
    "devflow.apps.projects",
    "devflow.apps.deployments",
    "devflow.apps.containers",
    "devflow.apps.changes",
    "devflow.apps.privacy",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "django_htmx",
    "procrastinate.contrib.django",
]

MIDDLEWARE = [
    "devflow.web.errors.ErrorPages",
    "devflow.apps.accounts.addresses.with_client_address",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "devflow.web.compression.CompressedPages",
    "devflow.web.language.with_language",  # below the files, which are the same in every language
    "devflow.apps.accounts.session_store.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "devflow.web.language.with_chosen_language",
    "devflow.apps.audit.middleware.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "devflow.web.seen.with_sessions_seen",
    "devflow.apps.replica.with_replica",
    "devflow.api.limits.with_limits",
]

FORM_RENDERER = "devflow.web.forms.rendering.Renderer"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "devflow.web.context.frame",
            ]
        },
    }
]

ROOT_URLCONF = "devflow.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database_settings(config, connections=WEB_THREADS + 8)}
if config.database_replica_url:
    DATABASES["replica"] = replica_settings(config.database_replica_url, connections=WEB_THREADS)
    DATABASE_ROUTERS = ["devflow.apps.replica.Router"]
CACHES = cache_settings(config.redis_url)
HAS_REDIS = config.redis_url is not None

# --- Language, time ---------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
LANGUAGES = [("en", "English"), ("de", "Deutsch")]  # each by its own name
LOCALE_PATHS = [Path(__file__).parents[1] / "locale"]
FORMAT_MODULE_PATH = "devflow.formats"

# --- Files ------------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: nothing has to be collected
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MIMETYPES = {".webmanifest": "application/manifest+json"}
WHITENOISE_IMMUTABLE_FILE_TEST = r"/build/.+-[0-9A-Z]{8}\.\w+$"  # the names that the build gives

# --- Secrets, hosts, cookies ------------------------------------------------------------------------------------------

MASTER_KEYS = _master_keys(config)
os.environ.pop(KEY_VARIABLE, None)  # nothing that this process starts inherits it
# What was signed before the master key was rotated (sessions, links in mails) holds as long as the old key is there.
SECRET_KEY, *SECRET_KEY_FALLBACKS = [derive_key(key, b"devflow-django-v1").hex() for key in MASTER_KEYS.now()]
DEBUG = False
PUBLIC_URL = config.url
ALLOWED_HOSTS = sorted({config.hostname, config.host, "localhost", "127.0.0.1", "[::1]"})
CSRF_TRUSTED_ORIGINS = [config.url]

# Headers that make browsers careful are added to every answer by `web/headers.py`.

# A browser takes a cookie of this name over https only, and from this host only: no neighbour can plant one.
_COOKIE_PREFIX: Final = "__Host-" if config.is_https else ""
SESSION_ENGINE = "devflow.apps.accounts.session_store"
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}devflow_session"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = config.is_https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "devflow.web.errors.forged"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no text waits in a cookie

# --- People -----------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "devflow.apps.accounts.passwords.VariedPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "devflow.web.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if config.email_url else "none"
ACCOUNT_RATE_LIMITS = False  # counted by apps/accounts/logins.py, for all web processes together
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_FORMS = {
    "login": "devflow.web.forms.account.LoginForm",
    "change_password": "devflow.web.forms.account.ChangeForm",
    "reauthenticate": "devflow.web.forms.account.PasswordAgainForm",
    "reset_password": "devflow.web.forms.account.ResetForm",
    "reset_password_from_key": "devflow.web.forms.account.ResetKeyForm",
}
PASSWORD_RESET_TIMEOUT = 3600
MFA_ADAPTER = "devflow.web.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # nobody signs up by themselves, so nobody takes an address before its owner does
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "activate_totp": "devflow.web.forms.account.AppForm",
    "authenticate": "devflow.web.forms.account.CodeForm",
    "reauthenticate": "devflow.web.forms.account.CodeAgainForm",
    "login_webauthn": "devflow.web.forms.account.PasskeyLoginForm",
    "add_webauthn": "devflow.web.forms.account.PasskeyForm",
}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if config.is_https else "http"

# --- What is remembered -----------------------------------------------------------------------------------------------

DATA_DIR = config.data_dir
API_LOG_DAYS = config.api_log_days
KEEP_DEPLOYMENTS, KEEP_DAYS = config.keep_deployments, config.keep_days

# --- Who may ask, from where, how often -------------------------------------------------------------------------------

API_LIMIT, API_LIMIT_NOBODY = config.api_limit, config.api_limit_nobody
CORS_ORIGINS = config.cors_origins
ALLOWED_NETWORKS = config.allowed_networks
METRICS_TOKEN = config.metrics_token

# --- For who works on the pages ---------------------------------------------------------------------------------------

STYLEGUIDE = config.styleguide

# --- Outgoing requests ------------------------------------------------------------------------------------------------

ALLOW_PRIVATE_ADDRESSES = config.allow_private_addresses

# --- Mail -------------------------------------------------------------------------------------------------------------

HAS_MAIL = config.email_url is not None
globals().update(email_settings(config.email_url))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = f"DevFlow Pro <devflow@{config.hostname}>"
