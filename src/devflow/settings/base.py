"""Django settings, built from `settings.env`. Nothing is set here that a user may want to set: that is in `env.py`."""

from typing import Final

from csp.constants import NONE, SELF

from devflow.core.crypto import derive_key, load_or_create_master_key
from devflow.settings.database import database_settings
from devflow.settings.email import email_settings
from devflow.settings.env import Config, ConfigError, load_config
from devflow.settings.log import LOGGING as LOGGING

WEB_THREADS: Final = 8


def _master_key(config: Config) -> bytes:
    """Never makes a key: with a second one, what is stored could not be read any more."""
    if not config.key_file.exists():
        raise ConfigError(
            f"There is no master key at {config.key_file}: start `devflow up` once, or set DEVFLOW_KEY_FILE."
        )
    return load_or_create_master_key(config.key_file)


config = load_config()

# --- Applications -----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "devflow.web",  # before allauth, whose templates it replaces
    "devflow.apps.accounts",
    "devflow.apps.notifications",
    "devflow.apps.sources",
    "devflow.apps.servers",
    "devflow.apps.projects",
    "devflow.apps.deployments",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "django_htmx",
    "csp",
    "procrastinate.contrib.django",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

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

# --- Language, time ---------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# --- Files ------------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: nothing has to be collected
WHITENOISE_AUTOREFRESH = False
WHITENOISE_IMMUTABLE_FILE_TEST = r"/build/.+-[0-9A-Z]{8}\.\w+$"  # the names that the build gives

# --- Secrets, hosts, cookies ------------------------------------------------------------------------------------------

MASTER_KEY = _master_key(config)
PANEL_KEY_FILE = str(config.key_file)
SECRET_KEY = derive_key(MASTER_KEY, b"devflow-django-v1").hex()
DEBUG = False
PUBLIC_URL = config.url
ALLOWED_HOSTS = sorted({config.hostname, config.host, "localhost", "127.0.0.1", "[::1]"})
CSRF_TRUSTED_ORIGINS = [config.url]

SESSION_COOKIE_NAME = "devflow_session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = config.is_https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if config.is_https else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

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
ACCOUNT_EMAIL_VERIFICATION = "none"
# Strict for each account; the addresses of whole offices are one.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "60/m/ip,5/5m/key"}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if config.is_https else "http"

# --- Outgoing requests ------------------------------------------------------------------------------------------------

ALLOW_PRIVATE_ADDRESSES = config.allow_private_addresses

# --- Mail -------------------------------------------------------------------------------------------------------------

HAS_MAIL = config.email_url is not None
globals().update(email_settings(config.email_url))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = f"DevFlow Pro <devflow@{config.hostname}>"
