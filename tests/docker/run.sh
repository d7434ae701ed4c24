#!/bin/bash
# Builds the image, starts the cluster of docker/compose.yaml, and does to it what happens to clusters.
#
#     run.sh    where a Docker engine answers
#
# All that it makes has a name of its own, $id, and is gone at the end. Where the public Debian cannot be had it
# makes one to build on, as root, and keeps it for a week in ~/.cache/shoal. cluster.sh is what is tried.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/shoal
cd "$here/../.."
id=shoal-test-$$
work=$(mktemp -d)
chmod 755 "$work"

if ! command -v docker-compose > /dev/null; then
    mkdir "$work/bin"
    printf '#!/bin/sh\nexec docker compose "$@"\n' > "$work/bin/docker-compose"
    chmod +x "$work/bin/docker-compose"
    PATH=$work/bin:$PATH
fi

# quietly COMMAND...: its output is shown when it fails.
quietly() {
    timeout --foreground 900 "$@" > "$work/log" 2>&1 < /dev/null || {
        tail -n 30 "$work/log"
        return 1
    }
}

# what_is_there KIND: containers, networks and volumes of ours.
what_is_there() {
    local project
    for project in "$id" "$id-host"; do
        docker "$1" ls -q "${@:2}" --filter "label=com.docker.compose.project=$project"
    done
}
our_images() { docker image ls --format '{{.Repository}}' --filter "reference=$id*"; }

remove_all() {
    what_is_there container -a | xargs -r docker rm -f -v
    what_is_there network | xargs -r docker network rm
    what_is_there volume | xargs -r docker volume rm
    our_images | xargs -r docker rmi -f
    ! mountpoint -q "$work/base" || umount "$work/base"
}

clean_up() {
    local status=$? left
    trap - EXIT
    remove_all > "$work/log" 2>&1 || true
    left=$(what_is_there container -a; what_is_there network; what_is_there volume; our_images)
    if [ -n "$left" ]; then
        cat "$work/log"
        echo "left behind:" "$left"
        status=1
    fi
    rm -rf "$work" "$cache"/*."$id"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Into FILE, in memory, and dpkg does not wait for the disk: it is half the time. Like the public one it goes without
# manuals and such. It knows what can be installed, so that the image need not ask for all of that.
make_base() { # FILE RELEASE
    local mirror root=$work/base
    if [ "$(id -u)" -ne 0 ]; then
        echo "$debian cannot be pulled; run this as root, so that it can make one with debootstrap." >&2
        return 1
    fi
    echo "Making a Debian to build on ..."
    tests/packages debootstrap
    mirror=$(sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +(http[^ ]*).*/\3/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1 || true)
    mkdir "$root"
    mount -t tmpfs -o mode=755 none "$root"
    quietly debootstrap --variant=minbase "$2" "$root" "${mirror:-http://deb.debian.org/debian}"
    echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    printf 'path-exclude /usr/share/%s/*\n' doc locale man > "$root/etc/dpkg/dpkg.cfg.d/small"
    echo 'Acquire::Languages "none";' > "$root/etc/apt/apt.conf.d/no-languages"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}/*
    cp /etc/resolv.conf "$root/etc"
    quietly chroot "$root" apt-get update -q
    rm -f "$root"/var/cache/apt/*.bin
    mkdir -p "${1%/*}"
    tar -C "$root" -c . > "$1.$id"
    umount "$root"
    mv "$1.$id" "$1"
}

debian=$(sed -n 's/^ARG BASE=//p' docker/Dockerfile)
export BASE_IMAGE=$debian SHOAL_IMAGE=$id COMPOSE_PROJECT_NAME=$id
if ! docker image inspect "$debian" > /dev/null 2>&1 && ! timeout 120 docker pull -q "$debian" > /dev/null 2>&1; then
    release=${debian#*:} release=${release%-slim}
    kept=$cache/docker-$release.tar
    [ -n "$(find "$kept" -mtime -7 2> /dev/null)" ] || make_base "$kept" "$release"
    export BASE_IMAGE=$id-base
    quietly docker import "$kept" "$BASE_IMAGE"
fi

# The sources as a person has them; secrets are made there, not here.
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$work"
echo "Building the image ..."
start=$SECONDS
# The stage gets a name first, by which it can be removed.
cd "$work/docker"
printf 'services: {redis: {image: %s-build, build: {target: build}}}\n' "$id" > ../stage.yaml
quietly docker-compose -f compose.yaml -f ../stage.yaml build redis
quietly docker-compose build redis
bytes() { docker image inspect -f '{{.Size}}' "$1"; }
echo "$((SECONDS - start)) s, $(($(bytes "$id") - $(bytes "$BASE_IMAGE"))) bytes and its Debian"
timeout --foreground --kill-after=60 600 "$here/cluster.sh"
