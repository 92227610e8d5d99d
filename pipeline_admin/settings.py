"""The one settings file, read from top to bottom; docs/settings.md explains every variable."""

from __future__ import annotations

from pathlib import Path

import dj_database_url

from pipeline_admin.env import BASE_DIR, WrongSetting, env

DATA_DIR = env.data_dir
env.text("DATA_DIR", ".data", help="Folder of the embedded parts, their logs and settings.json.")

# --- Core -------------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", False, help="Django's debug pages. Never in production.")
SECRET_KEY = env.text(
    "SECRET_KEY", help="Signs sessions. `up` makes one and keeps it in DATA_DIR/settings.json."
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", help="Host names the site answers to."
)
PUBLIC_URL = env.text(
    "PUBLIC_URL", "http://127.0.0.1:8000", help="Address under which senders and readers reach it."
).rstrip("/")
CSRF_TRUSTED_ORIGINS = env.words(
    "CSRF_TRUSTED_ORIGINS", help="Origins (with scheme) of pages behind a TLS proxy."
)
HTTPS = env.flag(
    "HTTPS",
    PUBLIC_URL.startswith("https://"),
    help="Cookies only over TLS, HSTS; on by an https PUBLIC_URL.",
)
FORWARDED_ALLOW_IPS = env.text(
    "FORWARDED_ALLOW_IPS",
    "127.0.0.1",
    help="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated.",
)
LOG_LEVEL = env.text("LOG_LEVEL", "INFO", help="DEBUG, INFO, WARNING or ERROR.").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise WrongSetting(f"LOG_LEVEL is {LOG_LEVEL!r}: allowed are DEBUG, INFO, WARNING, ERROR.")

ROOT_URLCONF = "pipeline_admin.urls"
ASGI_APPLICATION = "pipeline_admin.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "apps.dashboard.admin_config.PipelineAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "axes",
    "apps.accounts",
    "apps.audit",
    "apps.vault",
    "apps.destinations",
    "apps.pipelines",
    "apps.sources",
    "apps.ingest",
    "apps.streams",
    "apps.events",
    "apps.approvals",
    "apps.llm",
    "apps.backtests",
    "apps.dashboard",
    "apps.api",
    "apps.housekeeping",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

# --- Database ---------------------------------------------------------------------------------
DATABASE_URL = env.text(
    "DATABASE_URL",
    help="postgres://user:password@host/name. Default: SQLite in DATA_DIR.",
)
if DATABASE_URL and not DATABASE_URL.startswith(("postgres://", "postgresql://")):
    raise WrongSetting(
        "DATABASE_URL has an unknown scheme: allowed is postgres://user:password@host:5432/name, "
        "or leave it empty for SQLite in DATA_DIR."
    )
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DATA_DIR / "db.sqlite3",
    "OPTIONS": {
        "timeout": 20,
        # Writers queue at BEGIN instead of failing later, when a read lock can't be upgraded.
        "transaction_mode": "IMMEDIATE",
        # FULL: a ledger row must be on disk before the paid request leaves.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    },
    "CONN_MAX_AGE": None,
    "TEST": {"NAME": DATA_DIR / "test.sqlite3"},
}
DATABASES = {
    "default": dict(dj_database_url.parse(DATABASE_URL, conn_max_age=600, conn_health_checks=True))
    if DATABASE_URL
    else SQLITE
}
DATABASE_ROUTERS: list[str] = []

# --- Vault ------------------------------------------------------------------------------------
VAULT_KEYS = env.words(
    "VAULT_KEYS",
    help="Fernet keys, comma-separated: the first encrypts, all decrypt. `up` makes one.",
)

# --- Queue ------------------------------------------------------------------------------------
QUEUE_URL = env.text(
    "QUEUE_URL",
    "redis://127.0.0.1:6379/0",
    help="redis:// or unix:// address of each shard, comma-separated; `#name` at its end names it.",
)
QUEUE_URLS = [url.strip() for url in QUEUE_URL.split(",")]
QUEUE_DRAIN_URLS = env.words(
    "QUEUE_DRAIN_URL", help="Servers that take no more events and are read until they are empty."
)
for name, urls in {"QUEUE_URL": QUEUE_URLS, "QUEUE_DRAIN_URL": QUEUE_DRAIN_URLS}.items():
    if not all(url.startswith(("redis://", "rediss://", "unix://")) for url in urls):
        raise WrongSetting(
            f"{name} has an unknown scheme: allowed are redis://, rediss:// and unix:// addresses, "
            "comma-separated."
        )
QUEUE_TRUSTED = env.flag(
    "QUEUE_TRUSTED",
    False,
    help="Accept a managed queue server that forbids CONFIG, so that nobody can check its fsync.",
)
DEDUP_TTL_S = env.integer(
    "DEDUP_TTL_S", 86_400, minimum=60, help="Seconds the queue server remembers an idempotency key."
)
MAX_BODY_BYTES = env.integer(
    "MAX_BODY_BYTES", 1_048_576, minimum=1024, help="Largest body a source may send, in bytes."
)
INGEST_TIMEOUT_S = env.number(
    "INGEST_TIMEOUT_S",
    1.2,
    minimum=0.1,
    help="Longest wait for the queue, in seconds; then the local spool takes the event.",
)
SPOOL_DIR = Path(
    env.text("SPOOL_DIR", help="Folder of the local spool. Default: spool in DATA_DIR.")
    or DATA_DIR / "spool"
).absolute()
SPOOL_MAX_BYTES = env.integer(
    "SPOOL_MAX_BYTES",
    268_435_456,
    maximum=2**40,
    help="Bytes a web process may keep while the queue is away; 0 is off: 503 at once.",
)

# --- Workflows --------------------------------------------------------------------------------
TEMPORAL_ADDRESS = env.text("TEMPORAL_ADDRESS", "127.0.0.1:7233", help="host:port of Temporal.")
TEMPORAL_NAMESPACE = env.text("TEMPORAL_NAMESPACE", "default", help="Temporal's namespace.")
TEMPORAL_TASK_QUEUE = env.text(
    "TEMPORAL_TASK_QUEUE", "pipeline-admin", help="Task queue the workers poll."
)
TEMPORAL_API_KEY = env.text("TEMPORAL_API_KEY", help="API key of Temporal Cloud; turns TLS on.")
TEMPORAL_TLS = env.flag("TEMPORAL_TLS", bool(TEMPORAL_API_KEY), help="Speak TLS to Temporal.")
DISPATCHER_BATCH = env.integer(
    "DISPATCHER_BATCH", 100, minimum=1, maximum=1000, help="Entries read from a shard at once."
)
OPEN_WORKFLOWS_MAX = env.integer(
    "OPEN_WORKFLOWS_MAX",
    200,
    minimum=1,
    help="The dispatcher stops reading while so many events run; the backlog stays in the queue.",
)
WAITING_WORKFLOWS_MAX = env.integer(
    "WAITING_WORKFLOWS_MAX",
    5000,
    minimum=1,
    help="The dispatcher also stops reading while so many events wait for a limit or a provider.",
)
WORKER_CONCURRENCY = env.integer(
    "WORKER_CONCURRENCY", 50, minimum=1, maximum=1000, help="Steps a worker runs at once."
)

# --- LLM --------------------------------------------------------------------------------------
OPENAI_API_KEY = env.text("OPENAI_API_KEY", help="Key of the LLM provider.")
OPENAI_BASE_URL = env.text(
    "OPENAI_BASE_URL", help="Address of any OpenAI-compatible server. `up` sets the local model's."
)
OPENAI_MODEL = env.text("OPENAI_MODEL", "gpt-4o-mini", help="Model of pipelines that name none.")
LLM_TIMEOUT_S = env.number(
    "LLM_TIMEOUT_S", 120, minimum=1, help="Longest wait for an answer of the model, in seconds."
)
LLM_STORE_COMPLETIONS = env.flag(
    "LLM_STORE_COMPLETIONS",
    False,
    help="The provider keeps its answers (OpenAI does), so that a lost one can be looked up.",
)
LLM_BACKGROUND = env.flag(
    "LLM_BACKGROUND",
    False,
    help="Ask by background responses (OpenAI has them): a crash after sending resumes by id.",
)
LLM_BACKGROUND_TIMEOUT_S = env.number(
    "LLM_BACKGROUND_TIMEOUT_S",
    3600,
    minimum=1,
    help="Longest wait for a background response, in seconds; then the event is held.",
)
LLM_PRICE_INPUT = env.number(
    "LLM_PRICE_INPUT", 0, help="US dollars per million input tokens, for models without a price."
)
LLM_PRICE_OUTPUT = env.number(
    "LLM_PRICE_OUTPUT", 0, help="US dollars per million output tokens, for models without a price."
)
LLM_BATCH_PRICE = env.number(
    "LLM_BATCH_PRICE",
    0,
    help="Price of a call in a batch, of its list price: 0.5 is half. 0: as in prices.json.",
)
LLM_BATCH_CALLS = env.integer(
    "LLM_BATCH_CALLS", 5000, minimum=1, maximum=50_000, help="Calls in a batch, at most."
)
LLM_BATCH_BYTES = env.integer(
    "LLM_BATCH_BYTES",
    50_000_000,
    minimum=1000,
    maximum=200_000_000,
    help="Size of a batch's file, at most; one call alone may be larger.",
)
LLM_BATCH_GATHER_S = env.number(
    "LLM_BATCH_GATHER_S", 300, minimum=0, help="Seconds that calls are gathered for a batch."
)
LLM_BATCH_POLL_S = env.number(
    "LLM_BATCH_POLL_S", 30, minimum=0.1, help="Seconds between two looks at a batch's state."
)
LLM_REQUESTS_PER_MINUTE = env.integer(
    "LLM_REQUESTS_PER_MINUTE",
    0,
    help="Calls a minute to each model, of all workers; 0 is no limit.",
)
LLM_TOKENS_PER_MINUTE = env.integer(
    "LLM_TOKENS_PER_MINUTE",
    0,
    help="Tokens a minute for each model, of all workers; 0 is no limit.",
)
LLM_CONCURRENCY = env.integer(
    "LLM_CONCURRENCY", 0, help="Calls at once to each model, of all workers; 0 is no limit."
)
LLM_ADAPTIVE = env.flag(
    "LLM_ADAPTIVE", True, help="Obey a provider's limit headers in all workers, slow down on 429."
)
LLM_BREAKER_FAILURES = env.integer(
    "LLM_BREAKER_FAILURES",
    5,
    help="So many failed calls in a row to a model open its circuit breaker; 0 is off.",
)
LLM_BREAKER_PAUSE_S = env.number(
    "LLM_BREAKER_PAUSE_S", 60, minimum=0.1, help="Seconds until an open breaker lets a call try."
)

# --- Destinations -----------------------------------------------------------------------------
EGRESS_ALLOW = env.words(
    "EGRESS_ALLOW",
    help="Private networks destinations may reach, comma-separated: 10.1.0.0/16,127.0.0.1/32.",
)
DELIVERY_TIMEOUT_S = env.number(
    "DELIVERY_TIMEOUT_S", 15, minimum=1, help="Longest wait for a destination, in seconds."
)

# --- Refused requests -------------------------------------------------------------------------
REFUSED_KEEP_COUNT = env.integer(
    "REFUSED_KEEP_COUNT", 1000, minimum=0, help="Refused requests kept for each source."
)
REFUSED_KEEP_DAYS = env.integer(
    "REFUSED_KEEP_DAYS", 7, minimum=1, help="Days a refused request is kept."
)
REFUSED_KEEP_BYTES = env.integer(
    "REFUSED_KEEP_BYTES",
    20_000_000,
    minimum=0,
    help="Bytes of refused requests kept for each source, encrypted.",
)

# --- Housekeeping -----------------------------------------------------------------------------
RETENTION_DAYS = env.integer(
    "RETENTION_DAYS", 30, minimum=1, help="Days a finished event and its payload are kept."
)
SAMPLE_INTERVAL_S = env.number(
    "SAMPLE_INTERVAL_S", 2, minimum=1, help="Seconds between two status samples."
)
RECONCILE_INTERVAL_S = env.number(
    "RECONCILE_INTERVAL_S", 10, minimum=1, help="Seconds between two runs of the reconciler."
)
METRICS_HOST = env.text(
    "METRICS_HOST", "127.0.0.1", help="Address on which workers and dispatcher show metrics."
)
METRICS_PORT_DISPATCHER = env.integer(
    "METRICS_PORT_DISPATCHER", 0, maximum=65535, help="Metrics port of the dispatcher; 0 is off."
)
METRICS_PORT_WORKER = env.integer(
    "METRICS_PORT_WORKER", 0, maximum=65535, help="Metrics port of the worker; 0 is off."
)
METRICS_PORT_TEMPORAL_SDK = env.integer(
    "METRICS_PORT_TEMPORAL_SDK",
    0,
    maximum=65535,
    help="Temporal SDK metrics of the worker; 0 is off.",
)
METRICS_TOKEN = env.text("METRICS_TOKEN", help="If set, /metrics asks for it as a bearer token.")

# --- Celery and Channels ----------------------------------------------------------------------
BROKER_URL = env.text(
    "BROKER_URL",
    QUEUE_URLS[0].partition("#")[0],  # urldefrag would make unix:///path unix:/path
    help="Celery's broker. Default: the first shard.",
)
CELERY_BROKER_URL = (
    BROKER_URL.replace("unix://", "redis+socket://", 1)
    if BROKER_URL.startswith("unix://")
    else BROKER_URL
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "celery:"}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    name: {
        "task": f"apps.housekeeping.tasks.{name}",
        "schedule": every_s,
        # A task that waited longer than its interval has a successor: drop it.
        "options": {"expires": every_s},
    }
    for name, every_s in {
        "sample_status": SAMPLE_INTERVAL_S,
        "reconcile": RECONCILE_INTERVAL_S,
        "watch_budgets": 10.0,
        "watch_background": 10.0,
        "add_up_costs": 60.0,
        "run_backtests": 5.0,
        "run_batches": 5.0,
        "apply_retention": 3600.0,
    }.items()
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [BROKER_URL], "prefix": "live"},
    }
}

# --- Sign-in and security ---------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "apps.accounts.sign_in.locked_out"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
# The redirect to TLS is the proxy's; subdomains and preload lists are its owner's decision.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # Alpine, which Unfold brings, builds functions from attributes.
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
}

# --- Static files -----------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True

# --- Pages ------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Pipeline Admin",
    "SITE_HEADER": "Pipeline Admin",
    "SITE_SYMBOL": "conversion_path",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: f"{STATIC_URL}icon.svg"}
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "STYLES": [lambda _: f"{STATIC_URL}css/pipeline.css"],
    "SCRIPTS": [
        lambda _: f"{STATIC_URL}js/times.js",
        lambda _: f"{STATIC_URL}js/copy.js",
        lambda _: f"{STATIC_URL}js/shell.js",
    ],
    "LOGIN": {"image": lambda _: f"{STATIC_URL}login.svg"},
    "SIDEBAR": {"navigation": "apps.dashboard.navigation.get_navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        }
    },
}

# --- REST -------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.api.permissions.RolePermission"],
    "DEFAULT_PAGINATION_CLASS": "apps.api.pagination.NewestFirstPagination",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.api.parsers.StorableJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.api.problems.problem_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pipeline Admin",
    "DESCRIPTION": "Event-driven AI pipelines: sources, pipelines, destinations, events.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RefusedStateEnum": "apps.ingest.models.State",
        "SecretStateEnum": "apps.sources.models.SecretState",
        "StatusEnum": "apps.events.models.Status",
        "WaitingStatusEnum": "apps.events.api.WAITING",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.api.schema.add_problems",
    ],
}

# --- Logging: ids and reasons only, never bodies ----------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "pipeline_admin.logs.QuietFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "celery.app.trace": {"level": "WARNING"},  # two lines every two seconds say nothing
        "celery.worker.strategy": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
    },
}
