#!/bin/bash
# Writes dumps to /backups. Reads DATABASE_URL, PERSONAL_DB_USER (empty: there is no personal data) and WHAT:
#   data      <UTC time>.dump of the first database and <UTC time>.personal.dump; KEEP_DUMPS of each stay
#   keyring   keyring.dump, which takes the place of the one before: an old one makes erased people readable
# The databases are beside the first one, or where PERSONAL_DATABASE_URL and KEYRING_DATABASE_URL say.
set -euo pipefail
cd "${BACKUPS:-/backups}"

first=${DATABASE_URL%%\?*}
query=${DATABASE_URL#"$first"}

# A dump gets its name when it is whole and can be read.
dump() { # URL NAME [option of pg_dump]
    pg_dump --format=custom --lock-wait-timeout=60s --file=partial ${3:+"$3"} "$1"
    pg_restore --list partial >/dev/null
    sync partial
    mv partial "$2"
    echo "backup: $2, $(stat --format=%s "$2") bytes"
}

# Never the newest, whatever KEEP_DUMPS says.
forget_old() { # tests of find
    find . -maxdepth 1 -name '*.dump' "$@" | sort --reverse | tail --lines=+"$((KEEP_DUMPS > 1 ? KEEP_DUMPS + 1 : 2))" |
        while read -r old; do
            rm "$old"
            echo "backup: ${old#./} removed"
        done
}

rm -f partial # what a killed run left
case $WHAT in
data)
    name=$(date --utc +%Y%m%dT%H%M%SZ)
    # First, because it is small: the next dump of the keyring, which has the key of everybody in this one, is soon.
    if [[ ${PERSONAL_DB_USER:-} ]]; then
        dump "${PERSONAL_DATABASE_URL:-${first}_personal$query}" "$name.personal.dump"
    fi
    dump "$DATABASE_URL" "$name.dump"
    forget_old -name '*.personal.dump'
    forget_old ! -name '*.personal.dump'
    ;;
keyring)
    [[ ${PERSONAL_DB_USER:-} ]] || { echo "backup: there is no keyring"; exit 0; }
    # Without the daily peppers, which nobody may have after two days.
    dump "${KEYRING_DATABASE_URL:-${first}_keyring$query}" keyring.dump --exclude-table-data=daily_pepper
    ;;
*)
    echo "backup: WHAT is data or keyring" >&2
    exit 2
    ;;
esac
