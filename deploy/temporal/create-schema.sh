#!/bin/sh
# Creates Temporal's two databases, or brings their schema up to this image's version.
set -eu

migrate() {
  database=$1
  schema=$2
  set -- temporal-sql-tool --plugin postgres12 --endpoint postgres --port 5432 --user temporal \
    --database "$database"
  "$@" create
  "$@" setup-schema --version 0.0
  "$@" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$schema/versioned"
}

migrate temporal temporal
migrate temporal_visibility visibility
