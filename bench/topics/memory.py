"""Whether the gateway's memory stays where it is: after a million requests against after ten thousand.

Each sample has a gateway of its own, as only the first million requests of a process say anything.
"""
import contextlib
import pathlib
import re
import subprocess
from typing import Iterator

from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster, generate_calls

ROUNDS = 7
SESSIONS = 32
BEFORE = 10_000
AFTER = 1_000_000
GATEWAY = "pg_steadytext gateway"


def resident_mb(process: int) -> float:
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def request(database: Cluster, count: int) -> None:
    each = count // SESSIONS
    database.seconds(SESSIONS, generate_calls(each), each)


def one_life(database: Cluster) -> tuple[float, float]:
    gateway = database.worker(GATEWAY)
    request(database, BEFORE)
    early = resident_mb(gateway)
    request(database, AFTER - BEFORE)
    return early, resident_mb(gateway)  # fails if the gateway died meanwhile


@contextlib.contextmanager
def cluster_over_http() -> Iterator[Cluster]:
    engine = subprocess.Popen([BUILD / "http_engine"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(engine.stdout.readline())
        with cluster("none", f"steadytext.daemons = 'http://127.0.0.1:{port}/v1'") as database:
            yield database
    finally:
        engine.kill()
        engine.wait()


def measure(bench: Bench) -> dict[str, Measured]:
    ways = {"gateway_memory": lambda: cluster("echo"), "gateway_memory_http": cluster_over_http}
    early: dict[str, list[float]] = {name: [] for name in ways}
    late: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1, ROUNDS + 1):
        for name, started in ways.items():
            with started() as database:
                before, after = one_life(database)
            early[name].append(before)
            late[name].append(after)
            bench.say(f"{name}, round {number}/{ROUNDS}: {before:.1f} MB, then {after:.1f} MB")
    return {name: Measured(ratios(late[name], early[name]), {f"after {AFTER} requests, MB": late[name],
                                                             f"after {BEFORE} requests, MB": early[name]})
            for name in ways}


TOPIC = Topic(
    f"the gateway's resident memory after {AFTER} requests against after {BEFORE}",
    [Row("gateway_memory", "gateway memory after 1M requests / after 10k", 1.05, "lower"),
     Row("gateway_memory_http", "the same of an engine over HTTP", 1.05, "lower")],
    measure)
