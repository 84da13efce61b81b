"""How many calls statements make, against the fewest that any plan could make, and against PostgreSQL's own plan.

The statements, and how many calls each needs at least, are in t/data/fewest_calls.sql: 2,000 rows whose answers are known, as the echo daemon
answers by a rule of the text. It counts its requests. The cache is cleared before each statement. PostgreSQL's plan is the one with
steadytext.reorder and steadytext.read_ahead off; it runs first, so that the order of conditions can be made of its answers.
"""
import re
import statistics

from harness import ROOT, Bench, Measured, Row, Topic
from sql import Cluster, cluster

ROUNDS = 7
ROWS = 2000
PLAIN = "SET steadytext.reorder = off; SET steadytext.read_ahead = off; "


def read_set() -> tuple[str, list[tuple[str, str, str]]]:
    """The set-up, and name, statement and query for the fewest calls of each statement."""
    text = (ROOT / "t" / "data" / "fewest_calls.sql").read_text()
    setup, *parts = re.split(r"^-- query: ", text.split("-- setup\n", 1)[1], flags=re.M)
    statements = []
    for part in parts:
        name, rest = part.split("\n", 1)
        statement, fewest = rest.split("-- fewest\n")
        statements.append((name, statement, fewest))
    return setup.replace(":rows", str(ROWS)), statements


def calls(asked: Cluster, statement: str) -> int:
    asked.value("SELECT steadytext_cache_clear()")
    before = asked.ask_echo("stats", {})["requests"]["generate"]
    asked.value(statement)
    return asked.ask_echo("stats", {})["requests"]["generate"] - before


def measure(bench: Bench) -> dict[str, Measured]:
    setup, statements = read_set()
    ratios, savings = [], []
    table: dict[str, list[float]] = {}
    with cluster("echo", "jit = off", "max_parallel_workers_per_gather = 0") as asked:
        asked.value(setup)
        for number in range(1, ROUNDS + 1):
            sums = {"plain": 0, "ours": 0, "fewest": 0}
            asked.value("SELECT steadytext_stat_reset()")
            for name, statement, fewest in statements:
                made = {"plain": calls(asked, PLAIN + statement), "ours": calls(asked, statement), "fewest": int(asked.value(fewest))}
                assert made["ours"] <= made["plain"], f"{name}: {made}"
                for side, count in made.items():
                    sums[side] += count
                    table.setdefault(f"{name}: {side}", []).append(count)
            ratios.append(sums["ours"] / sums["fewest"])
            savings.append(sums["ours"] / sums["plain"])
            bench.say(f"round {number}/{ROUNDS}: {sums}")
    worst = max(statistics.median(table[f"{name}: ours"]) / statistics.median(table[f"{name}: fewest"]) for name, _, _ in statements)
    bench.say(f"the worst of {len(statements)} statements makes {worst:.3f} times the fewest calls")
    return {"calls_fewest": Measured(ratios, table), "calls_plain": Measured(savings)}


TOPIC = Topic(
    "calls of 31 statements over 2,000 rows",
    [Row("calls_fewest", "calls of 31 statements / the fewest possible", 1.02, "lower"),
     Row("calls_plain", "calls of 31 statements / those of PostgreSQL's plan", 0.5, "lower")],
    measure)
