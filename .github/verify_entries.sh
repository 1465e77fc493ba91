#!/usr/bin/env bash
# Verify the entries that a checkout adds to or changes on the board since a commit; refuse any other change.
# Usage: verify_entries.sh CHECKOUT BASE_COMMIT    (`harness` must be importable: installed, or by PYTHONPATH)
set -euo pipefail
checkout=$1
base=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# To files, since of a command within another nobody sees that it failed, and nothing would be verified.
git -C "$checkout" diff --no-renames --name-only -z "${base:?no base commit}...HEAD" > "$work/changed"
git -C "$checkout" archive --output="$work/before.tar" "$base" leaderboard
tar -x -f "$work/before.tar" -C "$work"
while IFS= read -r -d '' path; do
  if [[ ! $path =~ ^leaderboard/entries/([^/]+/[^/]+)/[^/]+$ ]]; then
    printf 'not below leaderboard/entries/<model>/<task>/: %q; a submission holds entries and nothing else\n' "$path" >&2
    exit 1
  fi
  name=${BASH_REMATCH[1]}
  if [[ ! -d $checkout/leaderboard/entries/$name ]]; then
    printf 'taken off the board: %q; only its keeper takes entries off, in a commit of their own\n' "$name" >&2
    exit 1
  fi
  if [[ -d $work/leaderboard/entries/$name ]]; then
    printf 'takes the place of an entry that is there: %q\n' "$name" >> "$work/replaced"
  fi
  printf '%s\0' "$checkout/leaderboard/entries/$name" >> "$work/entries"
done < "$work/changed"
if [[ ! -e $work/entries ]]; then
  echo "no entry was added or changed"
  exit 0
fi
if [[ -e $work/replaced ]]; then sort -u "$work/replaced"; fi
sort -zu "$work/entries" > "$work/sorted"
mapfile -d '' -t entries < "$work/sorted"
# Whoever keeps the board marks what was run again, in a commit of their own.
python3 -P -m harness leaderboard verify --no-rerun --before "$work/leaderboard" "$checkout/leaderboard" -- "${entries[@]}"
