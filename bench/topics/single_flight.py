"""Whether a call asks the daemon only for what nobody else asks it for: many connections, few distinct prompts.

Every session begins at once with a prompt of its own or another's, and goes on through the others; the daemon takes its time,
so that each prompt is wanted by many sessions while it is under way or just cached. Only the daemon's own counter counts.
"""
from harness import Bench, Measured, Row, Topic
from sql import Cluster, cluster

ROUNDS = 7
SESSIONS = 200
CALLS = 5  # by each session
PROMPTS = 50
DELAY_MS = 100


def requests(echo: Cluster) -> int:
    return echo.ask_echo("stats", {})["requests"].get("generate", 0)


def one_round(echo: Cluster, number: int) -> float:
    """How many requests the daemon gets for a thousand calls of fifty prompts that it never had before."""
    before = requests(echo)
    statement = (f"SELECT count(steadytext_generate('{number}: ' || ($1::int * 7 + i * 11) % {PROMPTS})) "
                 f"FROM generate_series(1, {CALLS}) i")
    echo.seconds(SESSIONS, statement, CALLS)
    return requests(echo) - before


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo", f"max_connections = {SESSIONS + 50}") as echo:
        echo.ask_echo("control", {"delay_ms": DELAY_MS})
        counted = []
        for number in range(1, ROUNDS + 1):
            counted.append(one_round(echo, number))
            bench.say(f"round {number}/{ROUNDS}: {counted[-1]:.0f} requests for {SESSIONS * CALLS} calls")
    return {"single_flight": Measured(counted)}


TOPIC = Topic(
    f"{SESSIONS} connections, {SESSIONS * CALLS} calls, {PROMPTS} distinct prompts, a daemon that takes its time",
    [Row("single_flight", f"daemon requests for {SESSIONS * CALLS} calls of {PROMPTS} prompts", PROMPTS, "lower")],
    measure)
