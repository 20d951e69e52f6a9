#!/usr/bin/env bash
# One booking from an empty calendar to its audit trail, with curl, sed and python3 -m json.tool.
#
#   URL=http://127.0.0.1:8000 KEY=hf_... examples/curl/book.sh
#
# `holdfast demo` prints both. Each run adds a resource of its own, so run it as often as you like.
set -euo pipefail

URL=${URL:-http://127.0.0.1:8000}
: "${KEY:?set it to a key of scope admin: holdfast keys create --scope admin}"

headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# A refusal is printed and ends the script.
call() {
  local answer
  answer=$(curl --silent --show-error --fail-with-body --dump-header "$headers" \
    --header "Authorization: Bearer $KEY" --header 'Content-Type: application/json' "$@") || {
    printf '%s\n' "$answer" >&2
    return 1
  }
  printf '%s' "$answer"
}

say() { printf '\n# %s\n' "$*"; }
show() { python3 -m json.tool <<<"$1"; }
id_in() { show "$1" | sed -n 's/^ *"id": "\([^"]*\)".*/\1/p'; }
header() { tr -d '\r' <"$headers" | sed -n "s/^$1: *//p"; }

# GNU date, or else BSD's.
tomorrow=$(date -u -d '+1 day' +%F 2>/dev/null || date -u -v+1d +%F)

say 'A resource: what can be booked'
resource=$(call "$URL/v1/resources" --data '{"name": "Pitch 7", "timezone": "Europe/Athens"}')
show "$resource"
resource_id=$(id_in "$resource")

say 'A slot of it, tomorrow, with two places'
slots=$(call "$URL/v1/resources/$resource_id/slots" --data '{"slots": [{
  "starts_at": "'"$tomorrow"'T09:00:00Z", "ends_at": "'"$tomorrow"'T10:00:00Z", "max_bookings": 2
}]}')
show "$slots"
slot_id=$(id_in "$slots")

say 'What is free; needs no key'
free=$(curl --silent --show-error --fail-with-body "$URL/v1/available-slots?resource_id=$resource_id")
show "$free"

say 'Book it, with an Idempotency-Key'
request='{"slot_id": "'"$slot_id"'", "customer": {"ref": "ann", "name": "Ann Example"}}'
key="walk-through-$(date +%s)-$RANDOM"
booking=$(call "$URL/v1/bookings" --header "Idempotency-Key: $key" --data "$request")
show "$booking"
booking_id=$(id_in "$booking")
etag=$(header etag)

say 'The same request again, as after a lost answer: the same booking, not a second one'
replay=$(call "$URL/v1/bookings" --header "Idempotency-Key: $key" --data "$request")
echo "Idempotent-Replayed: $(header idempotent-replayed)"
[ "$replay" = "$booking" ] || { echo 'that was not the same answer' >&2; exit 1; }

say "Cancel the version we have seen: If-Match: $etag"
cancelled=$(call "$URL/v1/bookings/$booking_id/cancel" --header "If-Match: $etag" --data '{"reason": "rain"}')
show "$cancelled"

say 'Its history: who did what, when, and why'
history=$(call "$URL/v1/bookings/$booking_id/history")
show "$history"
