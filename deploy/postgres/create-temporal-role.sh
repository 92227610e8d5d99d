#!/bin/sh
# Runs once, when the volume is empty: Temporal gets a role of its own that can't read our database.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$TEMPORAL_DATABASE_PASSWORD" --set ours="$POSTGRES_DB" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
REVOKE ALL ON DATABASE :"ours" FROM PUBLIC;
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'password';
SQL
