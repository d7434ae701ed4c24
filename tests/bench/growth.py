"""How cost grows: with the tasks of a job, the jobs that wait, the slots, the workers."""
import statistics

import servers
from figure import Figure


def tasks(exponent):
    """Microseconds for each no-op task of a computed sweep of so many, from submission to the last result."""
    n = 10 ** exponent
    return lambda bench: (bench.client("computed", n)[0] / n * 1e6, None)


def waiting(jobs):
    """Microseconds for a job of one task, handed out and committed, while so many wait; the floor: while ten do."""
    def take(bench):
        with servers.redis_server() as deep, servers.redis_server() as flat:
            numbers = bench.floor("deep_queue", deep, flat, jobs, bench.times(1000, 10_000))
        return statistics.median(numbers[::2]), statistics.median(numbers[1::2])

    return take


def slots(number):
    """No-op tasks a second on a worker of so many slots."""
    def take(bench):
        bench.keep(bench.cluster, number)
        n = bench.times(2_000_000, 20_000_000)
        return n / bench.client("computed", n)[0], None

    return take


def sessions(number):
    """Percent of a core that Redis takes for so many busy workers."""
    def take(bench):
        with servers.redis_server() as redis:
            return bench.floor("crowd", "cpu", redis, number, bench.times(5, 30))[0], None

    return take


def bytes_running(bench):
    """Redis memory of a task that runs: a thousand workers hold sixteen each."""
    with servers.redis_server() as redis:
        return bench.floor("crowd", "memory", redis, 1000, 16)[0], None


FIGURES = {
    **{f"growth-1e{exponent}": Figure("µs", tasks(exponent)) for exponent in range(3, 8)},
    "deep-1e5": Figure("µs", waiting(10 ** 5), rounds=1, long_rounds=3),
    "deep-1e6": Figure("µs", waiting(10 ** 6), rounds=1, long_rounds=1, long_only=True),
    **{f"slots-{number}": Figure("tasks/s", slots(number)) for number in (1, 4, 16, 64)},
    "sessions-1000": Figure("%", sessions(1000), rounds=2, long_rounds=3),
    "bytes-running": Figure("B", bytes_running, rounds=3),
}
