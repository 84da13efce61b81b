"""What share of lookups the hot cache answers, beside LRU and W-TinyLFU of the same capacity: on Zipf, scans among it, and loops.

Every round has traces of its own; nothing is timed, so rounds run beside each other and a busy machine does no harm. The worst of all traces, with values of one
size and of many, and of three capacities is the sample.
"""
import concurrent.futures
import os
import re

from harness import BUILD, ROOT, Bench, Measured, Row, Topic

ROUNDS = 7
LINE = re.compile(r"^\| (?P<trace>[^|]+?) +\| +(?P<share>\d+) % \| +(?P<ours>[\d.]+) \| +[\d.]+ \((?P<lru>[-+ \d.]+)\)"
                  r" \| +[\d.]+ \([-+ \d.]+\) \| +[\d.]+ \((?P<tiny>[-+ \d.]+)\)", re.MULTILINE)


def leads(number: int) -> list[re.Match]:
    found = list(LINE.finditer(Bench.output(BUILD / "hot_cache" / "simulate", number)))
    if len(found) != 18:
        raise RuntimeError(f"{len(found)} lines of the simulation instead of 18")
    return found


def measure(bench: Bench) -> dict[str, Measured]:
    Bench.output("make", "-s", "-C", ROOT / "bench" / "hot_cache", "simulate")
    samples: dict[str, list[float]] = {"lru": [], "tiny": []}
    parts: dict[str, dict[str, list[float]]] = {"lru": {}, "tiny": {}}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as rounds:
        for number, rows in enumerate(rounds.map(leads, range(1, ROUNDS + 1)), 1):
            for rival, worst in samples.items():
                worst.append(min(float(row[rival]) for row in rows))
                for row in rows:
                    parts[rival].setdefault(f"{row['trace']}, cache of {row['share']} %", []).append(float(row[rival]))
            bench.say(f"round {number}/{ROUNDS}: at worst {samples['lru'][-1]:+.1f} points to LRU, {samples['tiny'][-1]:+.1f} to W-TinyLFU")
    return {"hot_cache_lru": Measured(samples["lru"], parts["lru"]), "hot_cache_tinylfu": Measured(samples["tiny"], parts["tiny"])}


TOPIC = Topic(
    "hit ratios of the hot cache beside LRU and W-TinyLFU",
    [Row("hot_cache_lru", "hit ratio less LRU's, worst of all traces, points", 0, "higher"),
     Row("hot_cache_tinylfu", "hit ratio less W-TinyLFU's, worst of all traces, points", -1.5, "higher")],
    measure)
