#!/bin/bash
# Runs test programs in a virtual machine that has control groups of version 2 and nothing else of the kind, with all
# controllers: on a host where they are those of version 1, or that gives us none, limits by version 2 cannot be tried.
#
#     run.sh BUILD PROGRAM...    of BUILD/tests, such as system/processes
#
# The machine boots the kernel of the Debian that this host is. Its files are this host's, which it cannot write to; what it
# writes is in its memory. init and inside.sh are what happens there. It is emulated, for which it needs no KVM: a dozen
# times slower. CK_RUN_CASE takes some of the tests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
kept=$build/cgroup2 # the kernel, from run to run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "make test-cgroup2 knows how to boot amd64 alone." >&2
    exit 1
fi

# fetch_kernel: it and the modules by which the host's files are seen. Nothing is installed.
fetch_kernel() {
    local package root=$work/kernel
    package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" {print $2; exit}')
    echo "Fetching $package ..."
    mkdir "$root"
    (cd "$root" && apt-get download -qq -o APT::Sandbox::User=root "$package")
    dpkg-deb -x "$root"/*.deb "$root"
    rm -rf "$kept"
    mkdir "$kept"
    cp "$root"/boot/vmlinuz-* "$kept/vmlinuz"
    (cd "$root" && find lib/modules/*/modules.* \
        lib/modules/*/kernel/{drivers/virtio,fs/9p,fs/fscache,fs/netfs,net/9p} -type f -exec cp --parents -t "$kept" {} +)
    rm -rf "$root"
    touch "$kept/ready"
}

# make_initrd PROGRAM...: Busybox, these modules, and what is to be done.
make_initrd() {
    local root=$work/initrd
    mkdir -p "$root"/{bin,build,dev,host,proc,sys}
    cp -r "$kept/lib" "$root"
    busybox depmod -b "$root" "$version"
    cp "$(command -v busybox)" "$root/bin"
    cp "$here/init" "$root"
    printf '%s\n' "$build" "$here/inside.sh $*" > "$root/job"
    (cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/initrd.gz"
}

[ -e "$kept/ready" ] || fetch_kernel
version=$(ls "$kept/lib/modules")
make_initrd "$@"
echo "Booting Linux $version ..."
timeout --foreground 5400 qemu-system-x86_64 -accel tcg,thread=multi -cpu Nehalem -smp 2 -m 1536 -display none \
    -no-reboot -serial stdio -kernel "$kept/vmlinuz" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 loglevel=3 panic=-1 mitigations=off ${CK_RUN_CASE:+CK_RUN_CASE=$CK_RUN_CASE}" \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    < /dev/null 2>&1 | sed -u 's|\r$||' | tee "$work/said"
if grep -q '^skipped: ' "$work/said"; then
    echo "The machine has all that tests need, and yet some were skipped." >&2
    exit 1
fi
grep -q '^all is well$' "$work/said"
