#!/bin/bash
# What run.sh has done, in a copy of docker/: a line for each thing that is true; those that are not show what
# was printed. "N passed, M failed", and the table of the sweep.
set -uo pipefail
passed=0 failed=0
export SHOAL_DRAIN=2s
# This host, as containers see it.
gateway=$(docker run --rm "$SHOAL_IMAGE" python3 -c 'import socket
for words in map(str.split, open("/proc/net/route")):
    if words[1] == "00000000":
        print(socket.inet_ntoa(bytes.fromhex(words[2])[::-1]))')

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

# soon COMMAND...: it comes to succeed within a minute and a half.
soon() {
    local end=$((SECONDS + 90))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# equal WHAT IS: says both when they differ.
equal() {
    [ "$1" = "$2" ] || { printf "expected '%s', there is '%s'\n" "$1" "$2"; return 1; }
}

# The n-th block of commands in README.md.
block() { awk -v n="$1" '/^```sh/ {k++; on = k == n; next} /^```/ {on = 0} on' README.md; }

# Those that run, without compose, which takes a second a call.
containers() { # SERVICE
    docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1"
}
workers() { containers worker; }
one() { containers "$1" | head -n 1; }
client() { docker exec "$console" shoal "$@" 2> said; }
redis() {
    docker exec -e REDISCLI_AUTH="$(cat secrets/"$1")" "$(one redis)" \
        redis-cli --tls --cacert /run/secrets/ca.pem -h redis --user "$@"
}
has() { # JOB FIELD N: it is at least so much
    local n
    n=$(client status "$1" --json | grep -oE "\"$2\":[0-9]+" | head -n 1)
    [ "${n##*:}" -ge "$3" ] 2> /dev/null
}
are_well() { # N services
    local n
    n=$(docker-compose ps -q | xargs docker inspect -f '{{.State.Health.Status}}' | grep -cx healthy)
    [ "$n" -eq "$1" ]
}

# ---- by README.md

make_secrets() {
    local command
    command=$(block 1 | sed -n 1p)
    (cd .. && eval "$command") && ./secrets.sh "$gateway"
}
is 'secrets are made, and again' make_secrets
names_are_kept() {
    ./secrets.sh && openssl x509 -in secrets/redis.pem -noout -checkip "$gateway" | grep -F 'does match'
}
is 'and the certificate keeps its names' names_are_kept
no_other_authority() {
    local status=0
    mv secrets/ca.key away && ./secrets.sh || status=$?
    mv away secrets/ca.key && equal 1 "$status"
}
is 'no authority takes the place of one whose key is kept elsewhere' no_other_authority
up() { eval "$(block 1 | sed -n 2p)"; }
is 'the cluster starts' up

# What was built while secrets lay beside the sources, searched for their lines; a run that is shown the secrets finds
# those, and them alone. The stage has its name anew, for what the builder saw now.
nothing_secret_is_in_the_images() {
    local files image
    files=$(grep -lE '.{40}' secrets/*) && docker-compose -f compose.yaml -f ../stage.yaml build -q redis || return 1
    for image in "$SHOAL_IMAGE" "$SHOAL_IMAGE-build"; do
        equal "$files" "$(grep -hE '.{40}' secrets/* | docker run -i --rm --network none --user 0 --entrypoint grep \
            -v "$PWD/secrets:/secrets:ro" "$image" -rlFf - --exclude-dir={proc,sys} / | sed 's|^/||' | sort)" || return 1
    done
}
is 'the images hold no secret' nothing_secret_is_in_the_images
is 'and nothing in it runs as root' equal shoal "$(docker run --rm --network none "$SHOAL_IMAGE" id -un)"
first_sweep() {
    eval "$(block 1 | sed -n 3p | sed 's/--rm/--rm -T/')" > first
    equal 181 "$(grep -c . first)"
}
is 'the sweep of README.md' first_sweep
is 'redis, broker and both workers are well' soon are_well 4
used_as_told() { # its results, the audit, and what runs
    local n
    for n in 1 2 4; do
        eval "$(block 2 | sed -n "${n}p" | sed 's/--rm/--rm -T/')" > used || return 1
        grep . used
    done
}
is 'the other commands of README.md' used_as_told
# Whoever runs, where: memory, processes, restarts, and what is published (nothing).
bounds() { # SERVICE
    docker inspect -f '{{if .HostConfig.Memory}}memory{{end}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PortBindings}}' "$(one "$1")"
}
are_bounded() {
    equal 'memory 64 unless-stopped map[]' "$(bounds redis)" && equal 'memory 16 unless-stopped map[]' "$(bounds broker)" &&
        equal 'memory 512 unless-stopped map[]' "$(bounds worker)" &&
        equal 1000000000 "$(docker inspect -f '{{.HostConfig.NanoCpus}}' "$(one worker)")"
}
is 'all have limits, are started again, and publish no port' are_bounded
if [ "$failed" -gt 0 ]; then
    docker-compose logs --no-color --tail 30
    echo "$passed passed, $failed failed"
    exit 1
fi

# A client that stays.
console=$(docker-compose run -d --entrypoint sleep client 3600 2> said)

# ---- a table that is the same without a cluster

# It takes as long as what happens meanwhile: half a second a task, until it may hurry.
cat > programs/paced << 'END'
#!/bin/sh
[ -e /opt/programs/hurry ] || sleep 0.5
exec /opt/shoal/sir "$@"
END
chmod 755 programs/paced
total=540
sweep=(-p beta=0.1:0.9:0.1 --reps 60 --seed 7 --name long)
words=(--beta '{beta}' --population 20000 --seed '{seed}')
submitted() { client submit "${sweep[@]}" -- /opt/programs/paced "${words[@]}"; }
is 'a longer sweep is submitted' submitted

killed=$(one worker)
is 'its first tasks have ended' soon has long ok 5
goes_on() { has long ok 20 && ! has long ok $total; }
scale() { docker-compose up -d --no-recreate --scale "worker=$1" && equal "$1" "$(workers | wc -l)"; }
is 'meanwhile: four workers' scale 4
is 'meanwhile: one is killed' docker kill "$killed"
is 'meanwhile: Redis restarts' docker-compose restart redis
is 'and some more have ended' soon has long ok 20
ends_well() {
    local worker
    worker=$(one worker)
    docker stop -t 60 "$worker" && equal 0 "$(docker inspect -f '{{.State.ExitCode}}' "$worker")" &&
        docker logs "$worker" 2>&1 | grep -q 'ended in good order'
}
is 'meanwhile: one is stopped, and ends in good order' ends_well
is 'meanwhile: two workers' scale 2
is 'all that came while the sweep went on' goes_on
touch programs/hurry
is 'all its tasks succeed' client wait long --timeout 4m
is 'audit finds nothing wrong' client audit

# What depends neither on times nor on who ran it.
columns() {
    awk -F , 'NR == 1 {for (i = 1; i <= NF; i++) if ($i !~ /^(attempt|worker|wall_s|cpu_s|rss_mb|extra)$/) keep[++n] = i}
              {for (k = 1; k <= n; k++) printf "%s,", $keep[k]; print ""}'
}
same_table() {
    docker run --rm --network none "$SHOAL_IMAGE" shoal run "${sweep[@]}" --format csv -- /opt/shoal/sir "${words[@]}" \
        > alone 2> said
    client results long --format csv > together
    head -n 1 alone
    equal $((total + 1)) "$(wc -l < together)" &&
        diff <(columns < alone | sort) <(columns < together | sort)
}
is 'its table is that of a run without a cluster' same_table

# ---- what goes wrong, and what may not be

cat > programs/orphans << 'END'
#!/bin/sh
for i in 1 2 3; do (sleep 0.01 &) & done
echo left=3
END
cat > programs/endless << 'END'
#!/bin/sh
exec sleep 1000
END
cat > programs/seven << 'END'
#!/bin/sh
exit 7
END
chmod 755 programs/*
exits() { # STATUS COMMAND...
    local expected=$1 status=0
    shift
    client "$@" || status=$?
    cat said
    equal "$expected" "$status"
}
is 'a failure is the exit status' exits 1 run -p i=1:2 -- /opt/programs/seven
is 'no sense is exit status 2' exits 2 run -p i=lin:1 -- /opt/shoal/sir
is 'what is not allowed does not run' exits 1 run -p i=1 -- /bin/true
is 'own programs run, and leave processes behind' exits 0 run -p i=1:40 -- /opt/programs/orphans
no_zombies() {
    local worker stats=
    for worker in $(workers); do
        stats=$(docker exec "$worker" sh -c 'cat /proc/[0-9]*/stat 2> /dev/null')
        grep -q '^1 (' <<< "$stats" && ! grep -q ') Z ' <<< "$stats" || return 1
    done
    [ -n "$stats" ]
}
is 'of which none stays a zombie' soon no_zombies
# ---- who may do what

# What a task could do that has read its worker's password: a job by hand, under another id than was signed.
push_by_hand() {
    client pause default && signed=$(client submit -- /opt/shoal/sir) || return 1
    docker exec -i "$(one worker)" sh -es "$signed" << 'END'
        REDISCLI_AUTH=$(cat /run/secrets/shoal-worker)
        export REDISCLI_AUTH
        redis() { redis-cli --raw --tls --cacert /run/secrets/ca.pem -h redis --user shoal-worker "$@"; }
        for field in n spec seed created owner warrant; do
            redis hset 'shoal:{0}:job:f0rged000000' $field "$(redis hget "shoal:{0}:job:$1" $field)"
        done
        redis rpush 'shoal:{0}:ready:default:5' f0rged000000
END
    client resume default && client wait "$signed"
}
is 'a job is pushed with the credential of a worker' push_by_hand
is 'which no worker runs' exits 1 wait f0rged000000
says() { # WORDS COMMAND...
    client "${@:2}" | grep -F "$1"
}
is 'and says why' says 'does not name this job: it was copied' show f0rged000000 0
is 'what is not signed does not run' exits 1 run --no-sign --name unsigned -- /opt/shoal/sir
is 'which it is told' says 'runs signed jobs alone, and this is not signed' show unsigned 0
sees() { # SERVICE NAMES
    equal "$2" "$(docker exec "$(one "$1")" ls /run/secrets | xargs)"
}
keys_are_where_they_belong() {
    sees redis 'ca.pem redis.key redis.pem users' && sees broker 'ca.pem shoal-broker' &&
        sees worker 'ca.pem shoal-worker trusted-keys' &&
        docker exec "$(one worker)" sh -c '! touch /run/secrets/trusted-keys'
}
is 'the key is with the client alone, and workers cannot alter whom they trust' keys_are_where_they_belong

redis_refuses() {
    redis shoal-worker config set appendonly no 2>&1 | grep -q NOPERM &&
        redis shoal-submit set other 1 2>&1 | grep -q NOPERM &&
        redis shoal-broker flushall 2>&1 | grep -q NOPERM &&
        redis shoal-admin config get appendonly | grep -qx yes
}
is 'users of Redis have the rights of their roles' redis_refuses
# The same by TLS is answered, so what is refused is the way. What is said tells, and not the status.
pings() { docker exec "$(one redis)" timeout 5 redis-cli -h redis "$@" ping 2>&1 || true; }
by_tls_alone() {
    pings --tls --cacert /run/secrets/ca.pem | grep '^NOAUTH' && pings | grep -E '^Error: .*(closed|reset|Protocol)'
}
is 'Redis speaks TLS alone' by_tls_alone
cannot_write() {
    local service
    for service in redis broker worker; do
        docker exec "$(one $service)" sh -c '! touch /opt/x 2> /dev/null && grep -qE "^CapBnd:\s0+$" /proc/1/status &&
            grep -qE "^NoNewPrivs:\s1$" /proc/1/status' || return 1
    done
}
is 'roots cannot be written, and there are no capabilities' cannot_write

# ---- the end of workers, and others on another host, with what README.md says that it needs

stops_in_time() {
    local worker start=$SECONDS
    client submit -p i=1:2 --name endless -- /opt/programs/endless && soon has endless leased 2 || return 1
    docker-compose stop worker && [ $((SECONDS - start)) -lt 60 ] || return 1
    for worker in $(docker-compose ps -q worker); do
        equal 0 "$(docker inspect -f '{{.State.ExitCode}}' "$worker")" || return 1
    done
    has endless queued 2
}
is 'workers that stop give back what does not end' stops_in_time
is 'which is cancelled' client cancel endless

# ---- other passwords and another key: README.md's way, but for the workers here, who have stopped

before=$(cat secrets/shoal-worker)
change_secrets() { rm secrets/{shoal-broker,shoal-worker,signing.key} && ./secrets.sh; }
is 'passwords and the key are made anew' change_secrets
publish() {
    eval "$(block 3 | sed -n 2p | sed "s/6379:6379/$gateway::6379/")" && docker-compose up -d --force-recreate redis broker
}
is 'Redis is published, and has them' publish
before_is_refused() {
    docker exec -e REDISCLI_AUTH="$before" "$(one redis)" \
        redis-cli --tls --cacert /run/secrets/ca.pem -h redis --user shoal-worker ping 2>&1 | grep -F WRONGPASS
}
is 'the password before is refused' before_is_refused
on_other_host() {
    local port
    port=$(docker-compose port redis 6379) && mkdir -p ../host/secrets && cp compose.yaml ../host &&
        cp -p secrets/{ca.pem,shoal-worker,trusted-keys} ../host/secrets && cd ../host &&
        { [ ! -e ../docker/.env ] || cp ../docker/.env .; } &&
        COMPOSE_PROJECT_NAME=$COMPOSE_PROJECT_NAME-host SHOAL_REDIS_HOST=$port docker-compose up -d --no-deps worker
}
is 'a worker starts elsewhere' on_other_host
is 'and runs what the key before signed' exits 0 run -p beta=0.3,0.6 -- /opt/shoal/sir --beta '{beta}' --seed '{seed}'
is 'and what the new one signed' docker-compose run --rm -T client run -- /opt/shoal/sir
is 'audit finds nothing wrong at the end' client audit

table=$(client results long --by beta)
if [ "$failed" -gt 0 ]; then
    docker-compose logs --no-color --tail 30
fi
echo "$passed passed, $failed failed"
echo "$table"
[ "$failed" -eq 0 ] && [ -n "$table" ]
