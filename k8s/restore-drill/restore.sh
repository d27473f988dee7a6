#!/bin/bash
# Restores the newest dumps into databases that it makes anew. Reads DATABASE_URL, DRILL_DATABASE and WHAT:
#   data      the first database's into DRILL_DATABASE, and that of `personal`, if there is one, into <the same>_personal
#   keyring   that of `keyring` into <the same>_keyring, which is dropped again unless KEEP_COPY is yes: it has the keys of
#             people who are erased later
set -euo pipefail
cd "${BACKUPS:-/backups}"

at() { # DATABASE [URL of its server]
    local url=${2:-$DATABASE_URL}
    local server=${url%%\?*}
    echo "${server%/*}/$1${url#"$server"}"
}

newest() { # tests of find
    find . -maxdepth 1 -name '*.dump' "$@" | sort | tail --lines=1
}

make() { # DATABASE [URL of its server]
    psql --quiet --set=ON_ERROR_STOP=1 --set=drill="$1" "$(at postgres "${2:-}")" <<'SQL'
DROP DATABASE IF EXISTS :"drill" WITH (FORCE);
CREATE DATABASE :"drill" TEMPLATE template0;
REVOKE ALL ON DATABASE :"drill" FROM PUBLIC;
SQL
}

# Everything or nothing. Groups and logins belong to the server and are there already.
fill() { # DUMP DATABASE [URL of its server]
    [[ -f $1 ]] || { echo "restore: there is no dump" >&2; exit 1; }
    make "$2" "${3:-}"
    pg_restore --exit-on-error --single-transaction --dbname="$(at "$2" "${3:-}")" "$1"
    psql --quiet --set=ON_ERROR_STOP=1 --command="ANALYZE" "$(at "$2" "${3:-}")"
    echo "restore: ${1##*/} is in database $2"
}

case $WHAT in
data)
    fill "$(newest ! -name '*.personal.dump')" "$DRILL_DATABASE"
    # The copy is compared with the login of the private service. `migrate` takes its right away again.
    psql --quiet --set=ON_ERROR_STOP=1 --set=drill="$DRILL_DATABASE" "$(at postgres)" \
        <<<'GRANT CONNECT ON DATABASE :"drill" TO registration_writer;'
    personal=$(newest -name '*.personal.dump')
    if [[ $personal ]]; then fill "$personal" "${DRILL_DATABASE}_personal" "${PERSONAL_DATABASE_URL:-}"; fi
    ;;
keyring)
    copy=${DRILL_DATABASE}_keyring
    server=${KEYRING_DATABASE_URL:-}
    fill keyring.dump "$copy" "$server"
    psql --tuples-only --no-align --set=ON_ERROR_STOP=1 "$(at "$copy" "$server")" \
        --command="SELECT 'restore: ' || count(*) || ' keys of people' FROM person_key"
    if [[ ${KEEP_COPY:-} != yes ]]; then
        psql --quiet --set=ON_ERROR_STOP=1 --set=drill="$copy" "$(at postgres "$server")" <<<'DROP DATABASE :"drill";'
        echo "restore: database $copy is dropped again"
    fi
    ;;
*)
    echo "restore: WHAT is data or keyring" >&2
    exit 2
    ;;
esac
