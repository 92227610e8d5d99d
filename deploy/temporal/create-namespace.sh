#!/bin/sh
# Creates the namespace of our workflows, unless it is there.
set -eu

namespace=${TEMPORAL_NAMESPACE:?}
if temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
  exit 0
fi
# Three days of finished workflows, for looking into one; the database keeps the events themselves.
temporal operator namespace create --namespace "$namespace" --retention 3d
