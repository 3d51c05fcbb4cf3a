#!/bin/sh
# entrypoint.sh COMMAND…: run a command with each setting NAME that a variable NAME_FILE names a file of, as PostgreSQL's image
# has it. An empty file sets nothing.
set -eu
for variable in $(env | sed -n 's/^\(\(STOCKCAST\|DAGSTER\|MLFLOW\)_[A-Z_]*\)_FILE=.*/\1/p'); do
    eval "file=\$${variable}_FILE"
    [ -r "$file" ] || { echo "error: ${variable}_FILE=$file cannot be read by this account." >&2; exit 1; }
    [ ! -s "$file" ] || export "$variable=$(cat "$file")"
    unset "${variable}_FILE"
done
exec "$@"
