#!/bin/bash
# What run.sh has done on its machine, a line for each thing that is true; those that are
# not show what was printed. The last line is "N passed, M failed".
set -uo pipefail
export DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
passed=0 failed=0
url=redis://127.0.0.1:6379/0
share=/srv/share # what the tasks of the service may write

# is NAME COMMAND...
is() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1 < /dev/null); then
        passed=$((passed + 1))
        printf 'ok      %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n%s\n' "$name" "$said"
    fi
}

# soon COMMAND...: it comes to succeed within a minute.
soon() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# equal WHAT IS: says both when they differ.
equal() {
    [ "$1" = "$2" ] || { printf "expected '%s', there is '%s'\n" "$1" "$2"; return 1; }
}

as_person() { runuser -u person -- env HOME=/home/person "$@"; }
in_service() { shoal run --redis "$url" --cwd "$share" "$@"; }

# Whatever is called after us, or holds something of ours, but for the packages themselves.
ours() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /results -o -path /debs -o -path /new \
        -o -path /home/person -o -path /root -o -path "$share" -o -path /var/cache/apt -o -path /var/log \) -prune \
        -o ! -user person \( -name '*shoal*' -o -path '/etc/*' -user shoal \) -print 2> /dev/null
    find /run /tmp /var/tmp -name '*shoal*' ! -user person 2> /dev/null
}

# ---- installing

useradd -m person
install_all() { apt-get install -y -q /debs/*.deb gcc libc6-dev man-db openssl pkg-config; }
is 'apt installs them and what they depend on and recommend' install_all
nothing_runs() {
    local unit
    for unit in shoal-worker shoal-broker; do
        equal disabled "$(systemctl is-enabled $unit)" && equal inactive "$(systemctl is-active $unit)" || return 1
    done
    equal '' "$(systemctl --failed --plain --no-legend)"
}
is 'no service is enabled, started or failed' nothing_runs
is 'the user shoal is there' id shoal
is 'settings are for root alone' equal '640 root 640 root' \
    "$(stat -c '%a %U' /etc/default/shoal-worker /etc/default/shoal-broker | xargs)"
man_pages() {
    local page
    for page in shoal shoal-worker shoal-broker shoal-host; do
        as_person man "$page" | grep -q . || return 1
    done
}
is 'man pages are shown' man_pages
completions() {
    # The words of the inner shell are its own.
    # shellcheck disable=SC2016
    equal audit "$(bash -c '. /usr/share/bash-completion/completions/shoal; COMP_LINE="shoal aud"; COMP_POINT=9
        COMP_WORDS=(shoal aud); COMP_CWORD=1; _shoal; echo ${COMPREPLY[@]}')" &&
        test -s /usr/share/fish/vendor_completions.d/shoal.fish && test -s /usr/share/zsh/vendor-completions/_shoal
}
is 'completions are there' completions

# ---- a person, without a configured Redis

cd /home/person || exit 1
local_sweep() {
    equal 55 "$(as_person shoal run --format csv -p x=1:10 -- echo 'y={x}' |
        awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "y") at = i; next} {sum += $at} END {print sum}')"
}
is 'a sweep runs on a local cluster' local_sweep
printf 'import shoal\ndef area(width):\n    shoal.progress(1)\n    return {"area": width * 2}\n' > shapes.py
is 'a function in Python runs' as_person shoal run --python shapes:area -p width=1:3
cat > plugin.c << 'END_OF_C'
#include <shoal/shoal_task.h>
static int twice(struct shoal_call *call) {
    shoal_call_add_int(call, "y", 2 * shoal_call_int(call, "x", 0));
    return 0;
}
static const struct shoal_task_entry tasks[] = {{"twice", twice}, {NULL, NULL}};
const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
END_OF_C
plugin() {
    # Flags are lists of words.
    # shellcheck disable=SC2046
    gcc -shared -fPIC plugin.c -o plugin.so $(pkg-config --cflags shoal) &&
        as_person shoal run --plugin ./plugin.so --task twice -p x=1:3
}
is 'a function in C is compiled and runs' plugin

# ---- the services

mkdir -m 1777 "$share"
sed -i "s|^#SHOAL_REDIS=.*|SHOAL_REDIS=$url|" /etc/default/shoal-worker /etc/default/shoal-broker
sed -i 's/^#SHOAL_SLOTS=.*/SHOAL_SLOTS=2/; s/^#SHOAL_DRAIN=.*/SHOAL_DRAIN=1s/
    s/^#SHOAL_WORKER_OPTIONS=.*/SHOAL_WORKER_OPTIONS="--allow-any --trust-redis"/' /etc/default/shoal-worker
start() {
    systemctl enable --now shoal-worker shoal-broker &&
        soon sh -c "shoal workers --redis $url --json | grep -q working" &&
        systemctl is-active shoal-worker shoal-broker
}
is 'services are enabled and run' start
is 'they run tasks, which write where people keep data' in_service -p x=1:10 -- touch "$share/{x}"
is 'tasks are of the user shoal' equal shoal "$(stat -c %U "$share/7")"
mkdir -m 1777 /open
is 'tasks cannot write elsewhere' in_service -- sh -c '! touch /open/x'
is 'tasks gain no privileges' in_service -- grep -q '^NoNewPrivs:.1$' /proc/self/status
is 'their system calls are filtered' in_service -- grep -q '^Seccomp:.2$' /proc/self/status
is 'each is in a control group of the service' in_service -- \
    grep -qE ':/system.slice/shoal-worker.service/shoal-[0-9a-z]+/' /proc/self/cgroup
is 'functions run there, too' in_service --python json:dumps -p obj=1:3
is 'root learns how the worker is' shoal-worker --status
cat > program.c << 'END_OF_C'
#include <shoal/shoal.h>
#include <stdio.h>
int main(void) {
    struct shoal_error err = {0};
    struct shoal_client *client = NULL;
    const char *command[] = {"true", "{x}", NULL}, *parameters[] = {"x=1:100", NULL};
    struct shoal_submit_options options;
    struct shoal_job job;
    char id[13];
    shoal_submit_options_init(&options);
    options.command = command;
    options.parameters = parameters;
    options.directory = "/srv/share";
    if (shoal_client_connect(NULL, &client, &err) == SHOAL_OK &&
        shoal_submit(client, &options, id, &err) == SHOAL_OK &&
        shoal_wait(client, id, 60000, &job, &err) == SHOAL_OK)
        printf("%d\n", (int)job.ok);
    fprintf(stderr, "%s", err.text);
    shoal_client_destroy(client);
    return 0;
}
END_OF_C
program() {
    # shellcheck disable=SC2046
    gcc -Wall -Wextra -Werror program.c -o program $(pkg-config --cflags --libs shoal) &&
        ldd ./program | grep -q 'libshoal.so.0 => /' && equal 100 "$(SHOAL_REDIS=$url ./program)"
}
is 'a program that uses libshoal is compiled and runs' program
static_program() {
    # shellcheck disable=SC2046
    gcc program.c -o program $(pkg-config --cflags --libs --static shoal | sed 's/-lshoal/-l:libshoal.a/') &&
        ! ldd ./program | grep libshoal && equal 100 "$(SHOAL_REDIS=$url ./program)"
}
is 'the same with the static library' static_program

with_password() {
    mkdir -p /etc/credstore
    (umask 077 && echo secret | tee /etc/credstore/shoal-{worker,broker}-redis-password)
    redis-cli config set requirepass secret
    sed -i 's/^#SHOAL_REDIS_PASSWORD_FILE=/SHOAL_REDIS_PASSWORD_FILE=/' /etc/default/shoal-*
    url=redis://:secret@127.0.0.1:6379/0
    systemctl restart shoal-worker shoal-broker
    in_service --timeout 60s -- true && ! grep -aq secret "/proc/$(systemctl show -P MainPID shoal-worker)/environ"
}
is 'a password comes as a credential' with_password
url=redis://:secret@127.0.0.1:6379/0

with_keys() {
    mkdir /etc/shoal
    shoal keygen signing.key > /etc/shoal/trusted-keys
    sed -i 's/^#SHOAL_TRUST_KEYS=/SHOAL_TRUST_KEYS=/; s/^SHOAL_WORKER_OPTIONS=.*/SHOAL_WORKER_OPTIONS=--allow-any/' \
        /etc/default/shoal-worker
    systemctl restart shoal-worker
    in_service --timeout 60s --sign-key signing.key -- true && ! in_service --timeout 60s -- touch "$share/unsigned" &&
        ! test -e "$share/unsigned"
}
is 'signed jobs run, and others do not' with_keys
export SHOAL_SIGN_KEY=$PWD/signing.key

# One certificate for all, and its own authority.
with_tls() {
    local all=/etc/shoal/ca.pem key=/etc/credstore/shoal-worker-tls-key
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=all \
        -addext subjectAltName=IP:127.0.0.1 -keyout $key -out $all || return 1
    cp $key /etc/credstore/shoal-broker-tls-key
    cp $all /etc/shoal/worker.pem && cp $all /etc/shoal/broker.pem && install -o redis -m 600 $key /etc/shoal/redis.key
    redis config set tls-cert-file $all tls-key-file /etc/shoal/redis.key tls-ca-cert-file $all tls-port 6380
    sed -i 's|^SHOAL_REDIS=.*|SHOAL_REDIS=rediss://127.0.0.1:6380|; s/^#SHOAL_TLS_/SHOAL_TLS_/' /etc/default/shoal-*
    systemctl restart shoal-worker shoal-broker
    in_service --timeout 60s -- true && soon come_by_tls
}
redis() { REDISCLI_AUTH=secret redis-cli "$@"; }
come_by_tls() {
    equal 2 "$(redis client list | grep 'laddr=127.0.0.1:6380' | grep -oE ' name=shoal-(broker|worker)' | sort -u | wc -l)"
}
is 'a key for TLS comes as a credential' with_tls

# ---- an upgrade, while a task runs

job=$(shoal submit --redis "$url" --cwd "$share" -- \
    sh -c 'echo >> started; until [ -e go ]; do sleep 0.1; done; echo y=1')
is 'a task runs' soon test -s "$share/started"
worker=$(systemctl show -P MainPID shoal-worker) broker=$(systemctl show -P MainPID shoal-broker)
is 'apt upgrades them' apt-get install -y -q /new/*.deb
is 'the worker is upgraded in its place' soon sh -c \
    "journalctl -u shoal-worker | grep 'the keeper is upgraded'"
is 'it is the same process' equal "$worker" "$(systemctl show -P MainPID shoal-worker)"
is 'the broker was started again' test "$broker" -ne "$(systemctl show -P MainPID shoal-broker)"
touch "$share/go"
once() { shoal wait --redis "$url" "$job" --timeout 60s && equal 1 "$(wc -l < "$share/started")"; }
is 'the task went on, and ran once' once
again() { apt-get install -y -q --reinstall /new/*.deb && systemctl is-active shoal-worker shoal-broker; }
is 'apt installs them again' again

# ---- the end

job=$(shoal submit --redis "$url" --cwd "$share" -- sh -c 'echo >> endless; sleep 1000000')
soon test -s "$share/endless"
stopped() {
    systemctl stop shoal-worker
    equal success "$(systemctl show -P Result shoal-worker)"
}
is 'a worker that is stopped ends in good order' stopped
back() { shoal status --redis "$url" --json "$job" | grep -qE '"queued": *1'; }
is 'its task went back to the queue' back
systemctl start shoal-worker
soon sh -c "[ \$(wc -l < $share/endless) = 2 ]"
packages=$(dpkg-query -W -f '${Package} ' '*shoal*')
# A list of words.
# shellcheck disable=SC2086
remove() { apt-get remove -y -q $packages; }
is 'apt removes them' remove
is 'services have ended' sh -c \
    '! readlink /proc/[0-9]*/exe | grep shoal && ! systemctl is-active shoal-worker shoal-broker'
is 'no unit failed' equal '' "$(systemctl --failed --plain --no-legend)"
is 'settings and what waits for Redis are kept' test -s /etc/default/shoal-worker -a -d /var/lib/shoal
is 'apt purges them' apt-get purge -y -q shoal-worker shoal-broker
rm -r /etc/credstore/shoal-* /etc/shoal
is 'nothing is left of them but the user, as is usual' equal '' "$(ours)"
is 'dpkg has no complaints' equal '' "$(dpkg --audit)"

journalctl -u shoal-worker -u shoal-broker >&2 # for who looks why something failed
echo "$passed passed, $failed failed"
