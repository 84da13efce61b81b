"""Whether the gateway's memory stays where it is: after a million requests against after ten thousand.

Each sample has a gateway of its own, as only the first million requests of a process say anything.
"""
import pathlib
import re

from harness import Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster, generate_calls

ROUNDS = 7
SESSIONS = 32
BEFORE = 10_000
AFTER = 1_000_000
GATEWAY = "pg_steadytext gateway"


def resident_mb(process: int) -> float:
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def request(echo: Cluster, count: int) -> None:
    each = count // SESSIONS
    echo.seconds(SESSIONS, generate_calls(each), each)


def one_life(echo: Cluster) -> tuple[float, float]:
    gateway = echo.worker(GATEWAY)
    request(echo, BEFORE)
    early = resident_mb(gateway)
    request(echo, AFTER - BEFORE)
    return early, resident_mb(gateway)  # fails if the gateway died meanwhile


def measure(bench: Bench) -> dict[str, Measured]:
    early, late = [], []
    for number in range(1, ROUNDS + 1):
        with cluster("echo") as echo:
            before, after = one_life(echo)
        early.append(before)
        late.append(after)
        bench.say(f"round {number}/{ROUNDS}: {before:.1f} MB, then {after:.1f} MB")
    return {"gateway_memory": Measured(ratios(late, early), {f"after {AFTER} requests, MB": late,
                                                             f"after {BEFORE} requests, MB": early})}


TOPIC = Topic(
    f"the gateway's resident memory after {AFTER} requests against after {BEFORE}",
    [Row("gateway_memory", "gateway memory after 1M requests / after 10k", 1.05, "lower")],
    measure)
