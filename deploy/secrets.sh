#!/bin/sh
# secrets.sh docker|podman: what `make up` needs once, in secrets/: passwords that nobody chose. What is there stays as it is.
# The files of the image's user belong to it where this is run by root. Elsewhere they can be read by all who get into the
# folder, and that is this account alone.
set -eu
engine=$1
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets

password() {
    od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'
}

# keep FILE [OWNER]: its content from the input, unless it is there.
keep() {
    if [ -e "secrets/$1" ]; then
        cat >/dev/null
    else
        cat >"secrets/$1.new"
        mv "secrets/$1.new" "secrets/$1"
    fi
    if [ "$(id -u)" = 0 ]; then
        chown "${2:-10001}" "secrets/$1"
        chmod 0400 "secrets/$1"
    else
        chmod 0444 "secrets/$1"
    fi
}

# login FILE NAME: somebody whom the proxy lets in. Only a hash is kept.
login() {
    [ ! -e "secrets/$1" ] || return 0
    word=$(password)
    hash=$(printf '%s\n' "$word" | "$engine" run --rm --interactive --network none docker.io/library/caddy:2.11 caddy hash-password)
    echo "$2 $hash" | keep "$1" 0
    echo "The password of $2, which is shown this once: $word"
}

password | keep postgres_password
for name in dagster mlflow; do
    echo "postgresql://$name:$(password)@postgres:5432/$name" | keep "${name}_postgres_url"
done
# The broker's whole configuration: it keeps nothing, PostgreSQL knows of all runs. The address has the same password.
printf 'requirepass %s\nsave ""\nappendonly no\ndir /tmp\n' "$(password)" | keep broker
echo "redis://:$(sed -n 's/^requirepass //p' secrets/broker)@broker:6379/0" | keep celery_broker
login admins admin
login viewers viewer
# Empty: neither alerts nor a service account. Write theirs into them.
keep alerts </dev/null
keep gcp_credentials </dev/null
