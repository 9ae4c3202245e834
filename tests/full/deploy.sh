#!/bin/bash
# The Helm chart renders as it should, and refuses what can't work. HELM names the program.
set -u
cd "$(dirname "$0")/../.." || exit 2
chart=deploy/helm/polymeter
failed=0
check() { # WHAT COMMAND...
  local what=$1; shift
  if "$@" >/dev/null 2>&1; then echo "ok deploy: $what"; else echo "FAILED deploy: $what"; failed=1; fi
}
render() { "$HELM" template t "$chart" "$@"; }
has() { local part=$1; shift; render "$@" | grep -q -- "$part"; }
lacks() { local part=$1; shift; local text; text=$(render "$@") && ! grep -q -- "$part" <<<"$text"; }
refused() { ! render "$@"; }

check "the chart passes helm lint" "$HELM" lint --strict "$chart"
check "it runs as an ordinary user" has "runAsNonRoot: true"
check "it holds no secret" lacks "kind: Secret" --set existingSecret=s
check "a volume for each pod by default" has "volumeClaimTemplates"
check "no volume with data in a bucket" lacks "volumeClaimTemplates" --set data=s3://b/p,replicas=3
check "listeners need a log-in unless told otherwise" lacks "--allow-unauthenticated"
check "several replicas without a bucket are refused" refused --set replicas=2
if command -v promtool >/dev/null; then check "Prometheus reads its file" promtool check config deploy/prometheus.yml
else echo "skipped: promtool not installed"; fi
exit $failed
