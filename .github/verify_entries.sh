#!/usr/bin/env bash
# Verify the entries that a checkout adds to or changes on the board since a commit; refuse any other change.
# Usage: verify_entries.sh CHECKOUT BASE_COMMIT    (`harness` must be importable: installed, or by PYTHONPATH)
set -euo pipefail
checkout=$1
base=$2
entries=()
while IFS= read -r -d '' path; do
  if [[ ! $path =~ ^leaderboard/entries/([^/]+/[^/]+)/[^/]+$ ]]; then
    printf 'not below leaderboard/entries/<model>/<task>/: %q; a submission holds entries and nothing else\n' "$path" >&2
    exit 1
  fi
  entry="$checkout/leaderboard/entries/${BASH_REMATCH[1]}"
  # A folder that is gone was taken off the board: there is nothing to verify.
  if [[ -d $entry ]]; then entries+=("$entry"); fi
done < <(git -C "$checkout" diff --no-renames --name-only -z "$base...HEAD")
if [[ ${#entries[@]} -eq 0 ]]; then
  echo "no entry was added or changed"
  exit 0
fi
mapfile -d '' -t entries < <(printf '%s\0' "${entries[@]}" | sort -zu)
# Whoever keeps the board marks what was run again, in a commit of their own.
python3 -P -m harness leaderboard verify --no-rerun "$checkout/leaderboard" -- "${entries[@]}"
