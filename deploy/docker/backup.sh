#!/bin/sh
# Back the database up with `offerhub backup` every BACKUP_INTERVAL_SECONDS into BACKUP_FOLDER, and remove what is older than
# BACKUP_KEEP_DAYS. `backup.sh once` makes one and ends. What failed is tried again soon, and nothing is removed meanwhile.
# docs/operating/backup.md says what such a file does not save, and how to come back from one.
set -eu

folder=${BACKUP_FOLDER:-/backups}
interval=${BACKUP_INTERVAL_SECONDS:-3600}
keep_days=${BACKUP_KEEP_DAYS:-7}

back_up() {
    offerhub backup "$folder/books-$(date -u +%Y-%m-%dT%H%M%SZ).dump" &&
        find "$folder" -name 'books-*' -mtime +"$keep_days" -exec rm -f {} +
}

if [ "${1:-}" = once ]; then
    back_up
    exit
fi
# So that the container stops at once instead of after its grace period.
trap 'exit 0' TERM INT
while true; do
    if back_up; then pause=$interval; else pause=60; fi
    sleep "$pause" &
    wait $!
done
