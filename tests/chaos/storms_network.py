"""The network between workers and Redis is cut: both ways, one way, or with an error."""
import concurrent.futures
import contextlib
import time

import namespace
from place import wait_until

PORT, TLS_PORT = 6379, 6380  # in a namespace of its own
TTL_S = 4  # the least that a worker takes
SPANS = [TTL_S / 4, TTL_S * 1.25]
LONG_S = 900  # once for each way, in the long form


def works_again(place, job, done):
    return place.history.status(job)["ok"] > done or place.history.has_ended(job)


def partition(place, net, way, span):
    """Cuts, waits for `span` seconds while tasks run, heals. Gives the time until outcomes come again."""
    job = place.programs(100, "--queue", net.ours, ms=100, past=True)
    wait_until(lambda: place.history.status(job)["ok"] > 0, "no task has ended")
    net.cut(way)
    end = time.monotonic() + span
    while time.monotonic() < end:
        time.sleep(0.05)
    done = place.history.status(job)["ok"]
    net.heal(way)
    begin = time.monotonic()
    wait_until(lambda: works_again(place, job, done), f"no worker works again after a partition ({way}, {span} s)")
    again = time.monotonic() - begin
    place.history.settle(job)
    return again


def certify(place, address):
    """A certificate that is its own authority. Gives what Redis takes it by."""
    names = [f"{place.folder}/tls.{kind}" for kind in ("pem", "key")]
    namespace.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-subj", "/CN=redis", "-addext", f"subjectAltName=IP:{address}", "-out", names[0],
                  "-keyout", names[1])
    return ["--tls-port", TLS_PORT, "--tls-auth-clients", "no", "--tls-ca-cert-file", names[0],
            "--tls-cert-file", names[0], "--tls-key-file", names[1]]


def move_redis(place, net, encrypted):
    """Into the namespace; its socket is a file and serves us as before."""
    place.redis.kill()
    place.redis.around = net.words()
    place.redis.options = ["--port", PORT, "--protected-mode", "no", *certify(place, encrypted.there),
                           *place.redis.options]
    place.redis.start()
    place.environment["SHOAL_REDIS"] = f"unix:{place.redis.path}"
    place.broker()  # never cut off: without anybody the fleet's clock would stand still, and no session end


def fleet(place, net, url, *options):
    """Two workers that come this way, with a queue of their own."""
    place.environment["SHOAL_REDIS"] = url
    for _ in range(2):
        place.worker("--slots", "8", "--queue", net.ours, "--allow-any", "--trust-redis", *options, ttl=f"{TTL_S}s")


def partition_all(place, net, rounds):
    return [(way, span, partition(place, net, way, span)) for way, span in rounds]


def storm(place, nets):
    rounds = [(way, span) for way in nets[0].WAYS for span in SPANS] * place.times(1, 10)
    place.random.shuffle(rounds)
    if place.share:
        rounds += [(way, LONG_S * place.share) for way in nets[0].WAYS]
    rounds.sort(key=lambda round: round[1])  # so that each net has as many long ones
    with concurrent.futures.ThreadPoolExecutor(len(nets)) as pool:
        told = [pool.submit(partition_all, place, net, rounds[i::len(nets)]) for i, net in enumerate(nets)]
    for way, span, again in [one for future in told for one in future.result()]:
        place.took(again)
        place.faults += 1
        place.more.setdefault("again_ms", []).append([way, span, round(again * 1000)])
    for worker in list(place.workers):  # while there is a network
        place.retire(worker)


def partitions(place):
    """Every way, for less and for more than a session, of two fleets at a time, the second by TLS; workers are outside
    the namespace, Redis is in it."""
    if not namespace.allowed():
        place.skip("this host does not let us make network namespaces")
        return
    with contextlib.ExitStack() as stack:
        first, second = place.random.sample(range(1 << 14), 2)
        nets = [namespace.Namespace(first)]
        stack.callback(nets[0].close)
        nets.append(namespace.Namespace(second, nets[0]))
        stack.callback(nets[1].close)
        move_redis(place, nets[0], encrypted=nets[1])
        fleet(place, nets[0], f"redis://{nets[0].there}:{PORT}")
        fleet(place, nets[1], f"rediss://{nets[1].there}:{TLS_PORT}", "--tls-ca", f"{place.folder}/tls.pem")
        storm(place, nets)


STORMS = {
    "partitions": (partitions, ()),
}
