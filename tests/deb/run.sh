#!/bin/bash
# Installs the Debian packages on a machine of their own, uses, upgrades and removes them.
#
#     run.sh BUILD    as root, after `make deb`
#
# The machine is a container of systemd-nspawn without a network, in which systemd runs; nothing
# of it comes to this host. Its Debian is kept in BUILD/deb-root from run to run, and what apt will need
# in its cache; what a run changes is gone with it. inside.sh is what happens there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
root=$build/deb-root

if [ "$(id -u)" -ne 0 ]; then
    echo "make test-deb installs packages in a container, for which it must be root." >&2
    exit 1
fi
mirror=$(sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +(http[^ ]*).*/\3/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1 || true)
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# quietly COMMAND...: its output is shown when it fails.
quietly() {
    "$@" > "$work/log" 2>&1 < /dev/null || {
        tail -n 30 "$work/log"
        return 1
    }
}

if [ ! -e "$root/ready" ]; then
    echo "Making a Debian to install packages in ..."
    rm -rf "$root"
    quietly debootstrap --variant=minbase --include=systemd,systemd-sysv "$release" "$root" \
        "${mirror:-http://deb.debian.org/debian}"
    touch "$root/ready"
fi

# The packages, and the same as the next version.
mkdir "$work/new" "$work/results" "$root/debs"
trap 'rm -rf "$work" "$root/debs"' EXIT
cp "$build"/deb/*.deb "$root/debs"
for package in "$build"/deb/*.deb; do
    dpkg-deb -R "$package" "$work/package"
    sed -i "s/$(dpkg-deb -f "$package" Version)/&+new/" "$work/package/DEBIAN/control"
    quietly dpkg-deb --root-owner-group -b "$work/package" "$work/new"
    rm -rf "$work/package"
done

echo "Fetching what they depend on, as far as it is not there ..."
export DEBIAN_FRONTEND=noninteractive
fetch='apt-get install -y -q --download-only gcc libc6-dev man-db openssl pkg-config /debs/*.deb'
cp /etc/resolv.conf "$root/etc/resolv.conf"
quietly chroot "$root" sh -c "$fetch || { apt-get update -q && $fetch; }"

cat > "$work/test-deb.service" << 'END_OF_UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /inside.sh
StandardOutput=append:/results/table
StandardError=append:/results/log
ExecStopPost=/bin/systemctl poweroff --no-block
END_OF_UNIT

touch "$work/results/table"
timeout --foreground 600 systemd-nspawn -q -D "$root" --volatile=overlay --boot --register=no --keep-unit \
    --private-network --bind="$work/results:/results" --bind-ro="$work/new:/new" \
    --bind-ro="$here/inside.sh:/inside.sh" \
    --bind-ro="$work/test-deb.service:/etc/systemd/system/test-deb.service" \
    systemd.wants=test-deb.service > "$work/console" 2>&1 < /dev/null &
machine=$! status=0
tail -f --pid=$machine "$work/results/table"
wait $machine || status=$?
if ! grep -qE '^[0-9]+ passed, 0 failed$' "$work/results/table"; then
    echo "==== the log, the console (exit status $status)"
    tail -n 100 "$work/results/log" || true
    tail -n 20 "$work/console"
    exit 1
fi
