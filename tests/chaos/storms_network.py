"""The network between workers and Redis is cut: both ways, one way, or with an error."""
import concurrent.futures
import contextlib
import time

import namespace
from history import read_notes
from meanwhile import judge_healthy
from place import wait_until

PORT, TLS_PORT = 6379, 6380  # in a namespace of its own
TTL_S = 4  # the least that a worker takes
SPANS = [TTL_S / 4, TTL_S * 1.25]
LONG_S = 900  # once for each way, in the long form


def fleet_of(place, net):
    return {session["session"] for session in place.sessions() if net.ours in session["queues"]}


def live(place):
    return {session.decode() for session in place.redis.ask("zrange", "shoal:{0}:sessions", 0, -1)}


def judge_first_runs(place, what, job):
    """Their sessions are over, and perhaps another worker was quicker to come back and began them anew. But who began
    first ends first, and nobody may stop it."""
    first = {}
    ended = set()
    for run in read_notes(place.notes):
        if run.job == job:
            if run.what == "b":
                first.setdefault(run.task, run.pid)
            else:
                ended.add((run.task, run.pid))
    for task, pid in first.items():
        if (task, pid) not in ended:
            place.history.tell("unexpected", f"{what}: task {job}/{task} was stopped")


def partition(place, net, way, span):
    """Cuts, waits for `span` seconds, heals; some tasks run for all of it, others come and go. Gives the time until
    outcomes come again, and how many sessions have ended."""
    through = place.programs(3, "--queue", net.ours, ms=int(span * 1000) + 500, past=True)
    place.wait_for_runs(through, range(3))
    job = place.programs(100, "--queue", net.ours, ms=100, past=True)
    wait_until(lambda: place.history.status(job)["ok"] > 0, "no task has ended")
    sessions, over = fleet_of(place, net), set()

    def works_again():
        over.update(sessions - live(place))
        return place.history.status(job)["ok"] > done or place.history.has_ended(job)

    net.cut(way)
    end = time.monotonic() + span
    while time.monotonic() < end:
        over.update(sessions - live(place))
        time.sleep(0.05)
    done = place.history.status(job)["ok"]
    net.heal(way)
    begin = time.monotonic()
    wait_until(works_again, f"no worker works again after a partition ({way}, {span} s)")
    again = time.monotonic() - begin
    place.history.settle(job)
    place.history.settle(through)
    what = f"cut off for {span} s ({way})"
    if over:
        judge_first_runs(place, what, through)
    else:
        judge_healthy(place, what, [through, job])
    return again, len(over)


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
    return [(way, span, *partition(place, net, way, span)) for way, span in rounds]


def storm(place, nets):
    rounds = [(way, span) for way in nets[0].WAYS for span in SPANS] * place.times(1, 10)
    place.random.shuffle(rounds)
    if place.share:
        rounds += [(way, LONG_S * place.share) for way in nets[0].WAYS]
    rounds.sort(key=lambda round: round[1])  # so that each net has as many long ones
    with concurrent.futures.ThreadPoolExecutor(len(nets)) as pool:
        told = [pool.submit(partition_all, place, net, rounds[i::len(nets)]) for i, net in enumerate(nets)]
    for way, span, again, over in [one for future in told for one in future.result()]:
        place.took(again)
        place.faults += 1
        place.more.setdefault("again_ms", []).append([way, span, round(again * 1000)])
        place.more["sessions_ended"] = place.more.get("sessions_ended", 0) + over
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
