#!/bin/sh
# Dump the database every BACKUP_INTERVAL_SECONDS into BACKUP_FOLDER, and remove dumps older than BACKUP_KEEP_DAYS.
# `backup.sh once` makes one dump and ends. The connection comes from PGHOST, PGUSER, PGPASSWORD and PGDATABASE.
# A dump has its name only once it is whole and its list of contents could be read.
set -eu

folder=${BACKUP_FOLDER:-/backups}
interval=${BACKUP_INTERVAL_SECONDS:-86400}
keep_days=${BACKUP_KEEP_DAYS:-14}

dump() {
    name=$folder/offerhub-$(date -u +%Y%m%dT%H%M%SZ).dump
    rm -f "$folder"/.unfinished-*
    part=$folder/.unfinished-$$
    if pg_dump --format=custom --no-owner --file="$part" && pg_restore --list "$part" >/dev/null; then
        mv "$part" "$name"
        echo "backup made: $name ($(wc -c <"$name") bytes)"
        find "$folder" -name 'offerhub-*.dump' -mtime +"$keep_days" -exec rm -f {} +
    else
        rm -f "$part"
        echo "backup FAILED" >&2
        return 1
    fi
}

umask 077
if [ "${1:-}" = once ]; then
    dump
    exit
fi
# So that the container stops at once instead of after its grace period.
trap 'exit 0' TERM INT
while true; do
    # What failed is tried again soon; nothing older is removed meanwhile.
    if dump; then pause=$interval; else pause=60; fi
    sleep "$pause" &
    wait $!
done
