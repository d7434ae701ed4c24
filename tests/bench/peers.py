#!/usr/bin/env python3
"""Other queues on the same work: no-op tasks for two workers, every result collected and counted.

An adapter is a context manager around everything that a peer needs. It gives a function that runs so many tasks
and returns the number of results that came back. Workers for the adapters that need some: peers.py WORKER ADDRESS.
"""
import contextlib
import importlib.util
import logging
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import typing

import servers
from figure import Figure

WORKERS = 2
PATIENCE = 60  # seconds until a result that does not come is given up


def each_worker(*words, **options):
    """Starts a command twice."""
    stack = contextlib.ExitStack()
    for _ in range(WORKERS):
        stack.enter_context(servers.process(*words, **options))
    return stack


@contextlib.contextmanager
def module(name, text):
    """A file of source in a folder of its own; gives the folder."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        pathlib.Path(folder, name).write_text(text)
        yield folder


# ---- in Python

@contextlib.contextmanager
def celery():
    """Redis as broker and as the place of results; prefork."""
    from celery import Celery, group
    with servers.redis_server() as redis, module("tasks.py", CELERY_TASKS) as folder:
        url = f"redis+socket://{redis}"
        words = ["-m", "celery", "--app", "tasks", "worker", "--concurrency", WORKERS]
        with servers.process(sys.executable, *words, cwd=folder, env={**os.environ, "PEER_URL": url}):
            app = Celery("tasks", broker=url, backend=url)
            nothing = app.signature("nothing")
            yield lambda n: len(group(nothing.clone((i,)) for i in range(n)).apply_async().get(timeout=PATIENCE))
            app.close()


CELERY_TASKS = """
import os, celery
app = celery.Celery("tasks", broker=os.environ["PEER_URL"], backend=os.environ["PEER_URL"])
@app.task(name="nothing")
def nothing(i):
    return i
"""


@contextlib.contextmanager
def rq():
    """Workers that run tasks in their own process, which is faster than the usual fork for each."""
    import redis
    from rq import Queue
    with servers.redis_server() as path, module("rq_tasks.py", "def nothing(i):\n    return i\n") as folder:
        words = ["-m", "rq.cli", "worker", "--url", f"unix://{path}", "--worker-class", "rq.SimpleWorker"]
        with each_worker(sys.executable, *words, cwd=folder, env={**os.environ, "PYTHONPATH": folder}):
            queue = Queue(connection=redis.Redis(unix_socket_path=path))

            def run(n):
                jobs = queue.enqueue_many([Queue.prepare_data("rq_tasks.nothing", (i,)) for i in range(n)])
                for job in jobs:
                    servers.wait_until(lambda: job.return_value(refresh=True) is not None, "rq has no result", PATIENCE)
                return len(jobs)

            yield run


@contextlib.contextmanager
def dask():
    """A local cluster of distributed: two processes of one thread."""
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None,
                      silence_logs=logging.CRITICAL) as cluster, Client(cluster) as client:
        yield lambda n: len(client.gather(client.map(lambda i: i, range(n), pure=False)))


@contextlib.contextmanager
def joblib():
    """Its usual processes and batches."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
    try:
        yield lambda n: len(Parallel(n_jobs=WORKERS)(delayed(abs)(i) for i in range(n)))
    finally:
        get_reusable_executor().shutdown(wait=True)


@contextlib.contextmanager
def ray():
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    import ray as library
    library.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        nothing = library.remote(lambda i: i)
        yield lambda n: len(library.get([nothing.remote(i) for i in range(n)], timeout=PATIENCE))
    finally:
        library.shutdown()


# ---- over a socket, with workers of ours

def connect(address):
    """Buffered, to a unix socket's path or to a port of this host."""
    port = not address.startswith("/")
    peer = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
    peer.settimeout(PATIENCE)
    peer.connect(("127.0.0.1", int(address)) if port else address)
    if port:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer.makefile("rwb")


def our_workers(name, address):
    return each_worker(sys.executable, __file__, name, address)


def in_turns(n, at_once):
    """How many of n, `at_once` at a time."""
    return (min(at_once, n - first) for first in range(0, n, at_once))


def beanstalk_ask(peer, *commands):
    """Sends commands; the words of the answer to each, and the body of a job that was reserved behind its own."""
    peer.write(b"".join(commands))
    peer.flush()
    answers = []
    for _ in commands:
        answers.append(peer.readline().split())
        if answers[-1][0] == b"RESERVED":
            answers[-1].append(peer.read(int(answers[-1][2]) + 2)[:-2])
    return answers


def beanstalk_put(body):
    return b"put 0 0 60 %d\r\n%s\r\n" % (len(body), body)


def beanstalk_worker(path):
    with connect(path) as peer:
        beanstalk_ask(peer, b"watch tasks\r\n", b"ignore default\r\n", b"use results\r\n")
        while True:
            [[_, job, _, body]] = beanstalk_ask(peer, b"reserve\r\n")
            beanstalk_ask(peer, beanstalk_put(body), b"delete %s\r\n" % job)


@contextlib.contextmanager
def beanstalkd():
    """A tube for tasks and one for results; nothing is kept on disk."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        path = f"{folder}/socket"
        with servers.process("beanstalkd", "-l", f"unix:{path}"):
            servers.wait_until(lambda: servers.answers(path), "beanstalkd does not answer")
            with our_workers("beanstalk", path), connect(path) as peer:
                beanstalk_ask(peer, b"use tasks\r\n", b"watch results\r\n", b"ignore default\r\n")

                def run(n):
                    for some in in_turns(n, 1000):
                        beanstalk_ask(peer, *[beanstalk_put(b"%d" % i) for i in range(some)])
                    got = 0
                    for some in in_turns(n, 100):
                        jobs = beanstalk_ask(peer, *[b"reserve\r\n"] * some)
                        got += beanstalk_ask(peer, *[b"delete %s\r\n" % job[1] for job in jobs]).count([b"DELETED"])
                    return got

                yield run


CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, GRAB_JOB, JOB_ASSIGN, WORK_COMPLETE = 1, 4, 6, 7, 9, 11, 13


def gearman_say(peer, kind, *fields):
    data = b"\0".join(fields)
    peer.write(struct.pack(">4sII", b"\0REQ", kind, len(data)) + data)


def gearman_hear(peer):
    _, kind, size = struct.unpack(">4sII", peer.read(12))
    return kind, peer.read(size).split(b"\0")


def gearman_worker(port):
    with connect(port) as peer:
        gearman_say(peer, CAN_DO, b"nothing")
        while True:
            gearman_say(peer, GRAB_JOB)
            peer.flush()
            kind, fields = gearman_hear(peer)
            if kind == JOB_ASSIGN:
                gearman_say(peer, WORK_COMPLETE, fields[0], fields[2])
            elif kind != NOOP:
                gearman_say(peer, PRE_SLEEP)
                peer.flush()
                gearman_hear(peer)


@contextlib.contextmanager
def gearman():
    """A thousand tasks in flight; nothing is kept on disk."""
    port = servers.free_port()
    with servers.process("gearmand", "--listen", "127.0.0.1", "--port", port, "--log-file", "none"):
        servers.wait_until(lambda: servers.answers(("127.0.0.1", port)), "gearmand does not answer")
        with our_workers("gearman", str(port)), connect(str(port)) as peer:
            def run(n):
                got = 0
                for some in in_turns(n, 1000):
                    for i in range(some):
                        gearman_say(peer, SUBMIT_JOB, b"nothing", b"", b"%d" % i)
                    peer.flush()
                    end = got + some
                    while got < end:
                        got += gearman_hear(peer)[0] == WORK_COMPLETE
                return got

            yield run


# ---- others

@contextlib.contextmanager
def sidekiq():
    """Two processes of one thread; it has no results, so each task pushes one to a list."""
    with servers.redis_server() as redis, module("tasks.rb", SIDEKIQ_TASKS) as folder:
        environment = {**os.environ, "PEER_REDIS": f"unix://{redis}"}
        tasks = f"{folder}/tasks.rb"
        with each_worker("sidekiq", "--require", tasks, "--concurrency", 1, cwd=folder, env=environment), \
             servers.process("ruby", "-r", tasks, "-e", SIDEKIQ_CLIENT, env=environment, cwd=folder, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            def run(n):
                print(n, file=client.stdin, flush=True)
                return int(client.stdout.readline() or 0)

            yield run


SIDEKIQ_TASKS = """
require 'sidekiq'
Sidekiq.configure_server { |config| config.redis = { url: ENV['PEER_REDIS'] } }
Sidekiq.configure_client { |config| config.redis = { url: ENV['PEER_REDIS'] } }
class Nothing
  include Sidekiq::Worker
  def perform(i)
    Sidekiq.redis { |redis| redis.lpush('results', i) }
  end
end
"""
SIDEKIQ_CLIENT = """
$stdout.sync = true
$stdin.each_line do |n|
  (0...n.to_i).each_slice(1000) { |some| Sidekiq::Client.push_bulk('class' => Nothing, 'args' => some.map { |i| [i] }) }
  puts n.to_i.times.count { Sidekiq.redis { |redis| redis.brpop('results', timeout: 60) } }
end
"""


@contextlib.contextmanager
def parallel():
    """GNU parallel, which runs programs: /bin/true, counted in its log."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        log = pathlib.Path(folder, "log")

        def run(n):
            subprocess.run(["parallel", "--jobs", str(WORKERS), "--joblog", log, "/bin/true"], check=True, text=True,
                           input="".join(f"{i}\n" for i in range(n)), stderr=subprocess.DEVNULL)
            return sum(row.split("\t")[6:8] == ["0", "0"] for row in log.read_text().splitlines())

        yield run


class Peer(typing.NamedTuple):
    adapter: typing.Callable
    needs: tuple  # programs, and modules of this Python as "module:NAME"
    tasks: int  # of a round: a second or two


PEERS = {
    "peer-celery": Peer(celery, ("module:celery", "module:redis", "redis-server"), 1000),
    "peer-rq": Peer(rq, ("module:rq", "redis-server"), 500),
    "peer-dask": Peer(dask, ("module:distributed",), 1000),
    "peer-joblib": Peer(joblib, ("module:joblib",), 200_000),
    "peer-ray": Peer(ray, ("module:ray",), 5000),
    "peer-beanstalkd": Peer(beanstalkd, ("beanstalkd",), 20_000),
    "peer-gearman": Peer(gearman, ("gearmand",), 20_000),
    "peer-sidekiq": Peer(sidekiq, ("sidekiq", "ruby", "redis-server"), 5000),
    "peer-parallel": Peer(parallel, ("parallel",), 300),
}


def is_here(need):
    kind, _, name = need.rpartition(":")
    return (importlib.util.find_spec(name) if kind else shutil.which(name)) is not None


def missing():
    """The figures of peers that are not installed."""
    return [name for name, peer in PEERS.items() if not all(map(is_here, peer.needs))]


@contextlib.contextmanager
def warm(adapter):
    with adapter() as run:
        run(WORKERS * 10)
        yield run


def take(peer):
    """Tasks a second."""
    def figure(bench):
        run = bench.keep(warm, peer.adapter)
        n = bench.times(peer.tasks, 5 * peer.tasks)
        begin = time.perf_counter()
        got = run(n)
        took = time.perf_counter() - begin
        if got != n:
            raise RuntimeError(f"{got} of {n} results came")
        return n / took, None

    return figure


FIGURES = {name: Figure("tasks/s", take(peer), rounds=3, long_rounds=5) for name, peer in PEERS.items()}

if __name__ == "__main__":
    {"beanstalk": beanstalk_worker, "gearman": gearman_worker}[sys.argv[1]](sys.argv[2])
