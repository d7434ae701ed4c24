#!/bin/bash
# Makes the secrets of a cluster in docker/secrets: an authority, Redis's certificate, a password for each user of
# Redis, the key that signs what the client submits, and the keys that workers trust.
#
#     docker/secrets.sh [HOST...]
#
# Redis's certificate is for the name `redis`, by which containers call it, and for each HOST of this time and of
# those before, which secrets/hosts keeps; it is made anew each time. What else is there is kept: to change a password or the key, remove its file and run this again; the
# key before is trusted until its line in trusted-keys is removed. Containers read the files as the user that runs
# this; run by root, the files are given to the user of the image.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
image_user=10001:10001
days=820
# What jobs may run: the examples and docker/programs, as compose.yaml allows on every worker.
may='programs=/opt/shoal/*,/opt/programs/** plugins=/opt/shoal/*,/opt/programs/**'

mkdir -p secrets programs
chmod 755 programs
cd secrets
touch hosts
mapfile -t hosts < <(printf '%s\n' "$@" | sort -u hosts - | grep .)

for host in "${hosts[@]}"; do
    if [[ ! $host =~ ^[0-9A-Za-z.:-]+$ ]]; then
        echo "'$host' is no host; say a name or an address of where Redis is reached" >&2
        exit 2
    fi
done
printf '%s\n' "${hosts[@]}" > hosts

# quietly COMMAND...: openssl talks while all is well, too.
quietly() {
    "$@" 2> log || {
        cat log >&2
        return 1
    }
    rm log
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

make_authority() {
    quietly openssl req -x509 "${new_key[@]}" -keyout ca.key -out ca.pem -days 3650 -subj '/CN=shoal cluster' \
        -addext keyUsage=critical,keyCertSign
}

# make_certificate NAME...: Redis's, signed by the authority. The one before stays until this is whole.
make_certificate() {
    local names
    names=$(printf 'DNS:%s\n' "$@" | sed -E 's/^DNS:([0-9.]+|.*:.*)$/IP:\1/' | paste -sd ,)
    quietly openssl req -new "${new_key[@]}" -keyout redis.key.new -subj /CN=redis -out request
    quietly openssl x509 -req -in request -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
        -days $days -extfile <(echo "subjectAltName=$names") -out redis.pem.new
    rm request
    mv redis.key.new redis.key
    mv redis.pem.new redis.pem
}

trust() {
    local digits
    digits=$(openssl pkey -in "$1" -pubout -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \n')
    echo "$digits client-$(date +%Y-%m-%d) $may" >> trusted-keys
}

# The key as `shoal keygen` writes one. It is trusted before it is used.
make_signing_key() {
    openssl genpkey -algorithm ed25519 -out signing.key.new
    trust signing.key.new
    mv signing.key.new signing.key
}

# What `shoal acl` is told of a user: Redis gets no password but its SHA-256.
user() {
    [ -s "shoal-$1" ] || openssl rand -hex 32 > "shoal-$1"
    echo "--hash $1=$(tr -d '\n' < "shoal-$1" | sha256sum | cut -d ' ' -f 1)"
}

if [ -s ca.pem ] && [ ! -s ca.key ]; then
    echo "The authority's key is not in $PWD: bring ca.key back, or remove ca.pem for another authority, which all hosts" \
        "need then" >&2
    exit 1
fi
[ -s ca.pem ] || make_authority
make_certificate redis localhost "${hosts[@]}"
[ -s signing.key ] || make_signing_key
[ -s trusted-keys ] || trust signing.key
for role in admin broker read submit worker; do
    user $role
done > users
chmod 644 ca.pem trusted-keys

if [ "$(id -u)" -eq 0 ]; then
    chown $image_user redis.key redis.pem shoal-broker shoal-submit shoal-worker signing.key users
else
    touch ../.env
    sed -i '/^SHOAL_USER=/d' ../.env
    echo "SHOAL_USER=$(id -u):$(id -g)" >> ../.env
fi
echo "The secrets are in $PWD; Redis's certificate is good for $days days, and for:" redis localhost "${hosts[@]}"
