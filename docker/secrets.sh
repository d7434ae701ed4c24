#!/bin/bash
# Makes the secrets of a cluster in docker/secrets: an authority, Redis's certificate, and a password for
# each user of Redis.
#
#     docker/secrets.sh [HOST...]
#
# Redis's certificate is for the name `redis`, by which containers call it, and for each HOST; it is made anew
# each time. What else is there is kept: to change a password, remove its file and run this again. Containers
# read the files as the user that runs this; run by root, the files are given to the user of the image.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
image_user=10001:10001
days=820

mkdir -p secrets programs
chmod 755 programs
cd secrets

make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
        -days 3650 -subj "/CN=shoal cluster" -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign 2> /dev/null
}

# make_certificate NAME...: Redis's, signed by the authority.
make_certificate() {
    local names
    names=$(printf ',DNS:%s' "$@" | sed -E 's/DNS:([0-9.]+|[0-9a-f]*:[0-9a-f:]+)(,|$)/IP:\1\2/g')
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout redis.key -subj /CN=redis 2> /dev/null |
        openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days $days \
            -extfile <(echo "subjectAltName=${names#,}") -out redis.pem 2> /dev/null
}

# A user's line for Redis, which gets no password but its SHA-256.
user() {
    local name=$1
    shift
    [ -s "$name" ] || openssl rand -hex 32 > "$name"
    echo "user $name on #$(tr -d '\n' < "$name" | sha256sum | cut -d ' ' -f 1) $*"
}

[ -s ca.key ] || make_authority
make_certificate redis localhost "$@"
{
    echo "user default off"
    for role in broker submit worker; do
        user shoal-$role '~shoal:*' +@all -@admin -@dangerous +info '+config|get'
    done
    user shoal-admin '~*' '&*' +@all
} > users.acl
chmod 644 ca.pem

if [ "$(id -u)" -eq 0 ]; then
    chown $image_user redis.key redis.pem shoal-broker shoal-submit shoal-worker users.acl
else
    touch ../.env
    sed -i '/^SHOAL_USER=/d' ../.env
    echo "SHOAL_USER=$(id -u):$(id -g)" >> ../.env
fi
echo "The secrets are in $PWD; Redis's certificate is good for $days days, and for:" redis localhost "$@"
