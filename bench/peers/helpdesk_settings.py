"""Settings of a django-helpdesk site, as its guide says, on a schema of its own in PostgreSQL."""

import os
from urllib.parse import parse_qs, urlsplit

_ADDRESS = urlsplit(os.environ["HELPDESK_DSN"])
_QUERY = parse_qs(_ADDRESS.query)

SECRET_KEY = "a bench keeps no secret"  # noqa: S105 - it says so
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "helpdesk_urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
STATIC_URL = "/static/"
SITE_ID = 1
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "helpdesk",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _ADDRESS.path.lstrip("/"),
        "HOST": _QUERY["host"][0],
        "PORT": _QUERY["port"][0],
        "USER": _ADDRESS.username,
        "PASSWORD": _ADDRESS.password,
        "CONN_MAX_AGE": None,
        "OPTIONS": {"options": "-c search_path=helpdesk"},
    }
}
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
HELPDESK_TEAMS_MODE_ENABLED = False
HELPDESK_SUBMIT_A_TICKET_PUBLIC = True
