#!/bin/bash
# Restores the newest dump into a database of the name DRILL_DATABASE, which it makes anew. Reads DATABASE_URL.
set -euo pipefail

newest=$(find "${BACKUPS:-/backups}" -maxdepth 1 -name '*.dump' | sort | tail --lines=1)
[[ $newest ]] || { echo "restore: there is no dump" >&2; exit 1; }
query=${DATABASE_URL#"${DATABASE_URL%%\?*}"}
server=${DATABASE_URL%%\?*}
server=${server%/*}

psql --quiet --set=ON_ERROR_STOP=1 --set=drill="$DRILL_DATABASE" "$server/postgres$query" <<'SQL'
DROP DATABASE IF EXISTS :"drill" WITH (FORCE);
CREATE DATABASE :"drill" TEMPLATE template0;
-- Not for everybody: the copy is compared with the login of the private service. `migrate` takes its right away again.
REVOKE ALL ON DATABASE :"drill" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"drill" TO registration_writer;
SQL
# Everything or nothing. Groups and logins belong to the server and are there already.
pg_restore --exit-on-error --single-transaction --dbname="$server/$DRILL_DATABASE$query" "$newest"
psql --quiet --set=ON_ERROR_STOP=1 --command="ANALYZE" "$server/$DRILL_DATABASE$query"
echo "restore: ${newest##*/} is in database $DRILL_DATABASE"
