#!/bin/bash
# Builds the Debian packages of the tracked sources, and has lintian look at them.
#
#     build.sh BUILD VERSION LIBRARY...
#
# From the top of the sources; a LIBRARY is the Debian package of its headers.
set -euo pipefail
to=$1/deb version=$2
shift 2
libraries=$(printf ', %s' "$@")
maintainer=$(sed -n 's/^Maintainer: //p' docker/debian/control.in)

rm -rf "$to"
mkdir -p "$to/shoal/debian"
git ls-files -z | xargs -0 cp -a --parents -t "$to/shoal"
cp -a docker/debian/. "$to/shoal/debian"
cd "$to/shoal/debian"
sed "s/@LIBRARIES@/${libraries#, }/" control.in > control
./changelog.sh "$maintainer" "$(git log -1 --format=%ct)" < ../CHANGELOG.md > changelog
grep -qE "^shoal \\(${version}[~)]" <(head -n 1 changelog) || {
    echo "CHANGELOG.md does not begin with version $version, which the Makefile says." >&2
    exit 1
}
rm build.sh changelog.sh control.in
cd ..

# What make was told is for this build folder, not for the one in there.
log=../build.log
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -b > "$log" 2>&1 || {
    tail -n 40 "$log"
    exit 1
}
cd ..
lintian --allow-root --fail-on error,warning shoal_*.changes
mkdir debug
mv ./*-dbgsym_*.deb debug
rm -rf shoal
ls ./*.deb
