#!/bin/bash
# Installs into a folder of its own, builds a program with what is there, and takes it away again.
#
#     install.sh BUILD
set -euo pipefail
build=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

make -s --no-print-directory BUILD="$build" PREFIX=/opt/shoal DESTDIR="$root" install > "$root/log" 2>&1 || {
    cat "$root/log"
    exit 1
}
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/opt/shoal/lib/pkgconfig

# A program, by either name of the header, beside a header of the system that is called as one of ours.
for header in shoal/shoal.h shoal.h; do
    cat > "$root/program.c" << END
#include <$header>
#include <error.h>
#include <stdio.h>
int main(void) {
    error(0, 0, "%s", shoal_version());
    puts(shoal_status_name(SHOAL_OK));
    return 0;
}
END
    # Flags are lists of words.
    # shellcheck disable=SC2046
    ${CC:-cc} -Wall -Wextra -Werror "$root/program.c" -o "$root/program" $(pkg-config --cflags --libs shoal)
    [ "$(LD_LIBRARY_PATH=$root/opt/shoal/lib "$root/program" 2> /dev/null)" = ok ]
done
man=$(find "$root/opt/shoal/share/man" -name '*.1' | wc -l)
[ "$man" -eq 4 ]

# A plug-in and a Python function, with what was installed for them.
cat > "$root/plugin.c" << 'END'
#include <shoal/shoal_task.h>
static int twice(struct shoal_call *call) {
    shoal_call_add_int(call, "y", 2 * shoal_call_int(call, "x", 0));
    return 0;
}
static const struct shoal_task_entry tasks[] = {{"twice", twice}, {NULL, NULL}};
const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
END
# shellcheck disable=SC2046
${CC:-cc} -Wall -Wextra -Werror -shared -fPIC "$root/plugin.c" -o "$root/plugin.so" $(pkg-config --cflags shoal)
printf 'import shoal\ndef twice(x):\n    shoal.progress(1)\n    return {"y": 2 * x}\n' > "$root/module.py"
host=$root/opt/shoal/bin/shoal-host
[ "$("$host" --try "$root/plugin.so" twice x=21)" = '{"y":42}' ]
[ "$(cd "$root" && PYTHONDONTWRITEBYTECODE=1 "$host" --try --python module:twice x=21 2> /dev/null)" = '{"y":42}' ]

# What is not there any more is no error.
for _ in once again; do
    make -s --no-print-directory BUILD="$build" PREFIX=/opt/shoal DESTDIR="$root" uninstall
done
left=$(find "$root/opt/shoal" -mindepth 1 \( ! -type d -o -name shoal \))
if [ -n "$left" ]; then
    echo "make uninstall leaves:"
    echo "$left"
    exit 1
fi
