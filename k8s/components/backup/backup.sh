#!/bin/bash
# Writes /backups/<UTC time>.dump and removes the oldest ones. Reads DATABASE_URL and KEEP_DUMPS.
set -euo pipefail
cd "${BACKUPS:-/backups}"

# What a killed run left. A dump gets its name when it is whole and can be read.
rm -f partial
pg_dump --format=custom --lock-wait-timeout=60s --file=partial "$DATABASE_URL"
pg_restore --list partial >/dev/null
sync partial
name=$(date --utc +%Y%m%dT%H%M%SZ).dump
mv partial "$name"
echo "backup: $name, $(stat --format=%s "$name") bytes"

# Never the newest, whatever KEEP_DUMPS says.
find . -maxdepth 1 -name '*.dump' | sort --reverse | tail --lines=+"$((KEEP_DUMPS > 1 ? KEEP_DUMPS + 1 : 2))" |
    while read -r old; do
        rm "$old"
        echo "backup: ${old#./} removed"
    done
