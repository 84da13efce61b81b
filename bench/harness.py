"""What every topic of the bench shares: rows and their goals, interleaved sampling, programs, the report.

A topic is a file in topics/ that defines TOPIC = Topic(title, rows, measure). `measure(bench)` returns, for each row
by name, a Measured: one sample per round, plus the parts the samples were made of. Whatever is compared is sampled in
turn within each round, so that a machine that gets slower does so for all of it.
"""
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
MIN_SAMPLES = 7
PATIENCE_S = 1800  # for any one program; no topic has one that takes a third of it

# One server for everything that is built and started: the newest with its headers, unless PG_CONFIG says otherwise (as in the Makefile).
os.environ.setdefault("PG_CONFIG", max(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_config")), default="pg_config"))


@dataclass
class Row:
    """A figure this project claims. The value is the median of its samples."""

    name: str
    title: str
    goal: float
    better: str  # "lower" or "higher"

    def met_by(self, value: float) -> bool:
        return value <= self.goal if self.better == "lower" else value >= self.goal

    @property
    def goal_text(self) -> str:
        return f"{'≤' if self.better == 'lower' else '≥'} {self.goal:g}"


@dataclass
class Measured:
    samples: list[float]
    parts: dict[str, list[float]] = field(default_factory=dict)  # title with unit -> samples

    @property
    def value(self) -> float:
        return statistics.median(self.samples)


@dataclass
class Topic:
    title: str
    rows: list[Row]
    measure: Callable[["Bench"], dict[str, Measured]]
    name: str = ""  # the file's


class Bench:
    """Handed to each topic: runs programs, samples in turn, says how far it is."""

    def __init__(self, topic: Topic):
        self.topic = topic

    def say(self, text: str) -> None:
        print(f"  {self.topic.name}: {text}", file=sys.stderr, flush=True)

    def interleave(self, rounds: int, measures: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Samples each measure once a round; every round begins with another one."""
        assert rounds >= MIN_SAMPLES
        samples: dict[str, list[float]] = {name: [] for name in measures}
        order = list(measures)
        for number in range(1, rounds + 1):
            for name in order:
                samples[name].append(measures[name]())
            order = order[1:] + order[:1]
            latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.items())
            self.say(f"round {number}/{rounds}: {latest}")
        return samples

    @staticmethod
    def output(*command: object, **options) -> str:
        """The standard output of a program that must succeed; its complaints are part of the error."""
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, **options)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    @staticmethod
    def number(*command: object, **options) -> float:
        return float(Bench.output(*command, **options))


def ratios(numerator: list[float], denominator: list[float]) -> list[float]:
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def load_topics() -> dict[str, Topic]:
    topics = {}
    for path in sorted((ROOT / "bench" / "topics").glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.TOPIC.name = path.stem
        topics[path.stem] = module.TOPIC
    return topics


def busy_share(seconds: float = 1.0) -> float:
    """The share of the machine's processor time in use right now."""

    def times() -> tuple[int, int]:
        fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = times()
    time.sleep(seconds)
    total_after, idle_after = times()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def measure(topic: Topic) -> dict[str, Measured]:
    """Runs one topic; a failure costs its rows, which the report then calls missing."""
    print(f"{topic.name}: {topic.title}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        return topic.measure(Bench(topic))
    except Exception as problem:  # the other topics go on; the missing rows fail the run
        print(f"  {topic.name}: failed: {problem}", file=sys.stderr, flush=True)
        if os.environ.get("BENCH_TRACEBACK"):
            raise
        return {}
    finally:
        print(f"  {topic.name}: took {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def report(topics: list[Topic], results: dict[str, Measured]) -> list[str]:
    """Prints the table, writes results.json, and returns the names of missing rows."""
    missing = []
    records = []
    print(f"\n  {'':62}{'median':>9}  {'goal':>8}  {'min .. max':>18}  samples")
    for row in (row for topic in topics for row in topic.rows):
        measured = results.get(row.name)
        if measured is None or len(measured.samples) < MIN_SAMPLES:
            missing.append(row.name)
            print(f"✗ {row.title:62}{'missing':>9}  {row.goal_text:>8}")
            continue
        mark = "✓" if row.met_by(measured.value) else "✗"
        print(f"{mark} {row.title:62}{measured.value:9.3f}  {row.goal_text:>8}  {spread(measured.samples):>18}"
              f"  {len(measured.samples):7}")
        for title, samples in measured.parts.items():
            print(f"      {title:58}{statistics.median(samples):9.4g}  {'':8}  {spread(samples):>18}")
        records.append({"name": row.name, "value": measured.value, "goal": row.goal, "better": row.better,
                        "samples": measured.samples, "title": row.title, "parts": measured.parts})
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "results.json").write_text(json.dumps(records, indent=1) + "\n")
    return missing


def spread(samples: list[float]) -> str:
    return f"{min(samples):.4g} .. {max(samples):.4g}"
