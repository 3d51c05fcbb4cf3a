#!/bin/sh
# PostgreSQL's image runs this once, on an empty folder: a role and a database of its own for Dagster and for MLflow,
# with the passwords that their addresses hold. They hold any character, whatever the server's own locale is.
set -eu
for name in dagster mlflow; do
    # Between the name and the host of the address that secrets.sh wrote.
    password=$(sed -n "s|^postgresql://$name:\([0-9a-f]*\)@.*|\1|p" "/run/secrets/${name}_postgres_url")
    test -n "$password"
    # By its input, not on a command line that others can list.
    psql --set ON_ERROR_STOP=1 --quiet --username postgres --dbname postgres <<SQL
CREATE ROLE $name LOGIN PASSWORD '$password';
CREATE DATABASE $name OWNER $name ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE $name FROM PUBLIC;
SQL
done
