"""The network between workers and Redis is cut: both ways, one way, or with an error."""
import time

import namespace
from place import wait_until

PORT = 6379  # in a namespace of its own
TTL_S = 4  # the least that a worker takes
SPANS = [TTL_S / 4, TTL_S * 1.25]


def works_again(place, job, done):
    return place.history.status(job)["ok"] > done or place.history.has_ended(job)


def partition(place, net, way, span):
    """Cuts, waits for `span` seconds while tasks run, heals. The figure is the time until outcomes come again."""
    job = place.programs(120, ms=100, past=True)
    wait_until(lambda: place.history.status(job)["ok"] > 0, "no task has ended")
    net.cut(way)
    end = time.monotonic() + span
    while time.monotonic() < end:
        time.sleep(0.05)
    done = place.history.status(job)["ok"]
    net.heal(way)
    begin = time.monotonic()
    wait_until(lambda: works_again(place, job, done), f"no worker works again after a partition ({way}, {span} s)")
    place.took(time.monotonic() - begin)
    place.faults += 1
    place.more.setdefault("again_ms", []).append([way, span, round(place.latencies[-1])])
    place.history.settle(job)


def move_redis(place, net):
    """Into the namespace; its socket is a file and serves us as before."""
    place.redis.kill()
    place.redis.around = net.words()
    place.redis.options = ["--port", PORT, "--bind", net.there, "--protected-mode", "no", *place.redis.options]
    place.redis.start()
    place.environment["SHOAL_REDIS"] = f"unix:{place.redis.path}"
    place.broker()  # never cut off: without anybody the fleet's clock would stand still, and no session end
    place.environment["SHOAL_REDIS"] = f"redis://{net.there}:{PORT}"


def storm(place, net):
    move_redis(place, net)
    for _ in range(2):
        place.worker("--slots", "8", ttl=f"{TTL_S}s")
    rounds = [(way, span) for way in net.WAYS for span in SPANS] * place.times(1, 10)
    place.random.shuffle(rounds)
    for way, span in rounds:
        partition(place, net, way, span)
    for worker in place.workers:  # while there is a network
        if worker.end() != 0:
            place.history.tell("unexpected", f"worker {worker.name} ended with {worker.popen.returncode}")


def partitions(place):
    """Every way, for less and for more than a session; workers are outside the namespace, Redis is in it."""
    if not namespace.allowed():
        print("    partitions: skipped, since this host does not let us make network namespaces")
        return
    net = namespace.Namespace(place.random.randrange(1 << 14))
    try:
        storm(place, net)
    finally:
        net.close()


STORMS = {
    "partitions": (partitions, ()),
}
