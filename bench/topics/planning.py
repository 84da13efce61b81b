"""What read-ahead costs statements that use no function of this extension: they are looked through when they are planned.

As in metrics.py, one session alternates between short blocks of statements, with steadytext.read_ahead on and off, each going first in
turn. Each statement is parsed, planned and run anew, as pgbench's select-only script is by the simple protocol, less the client.
"""
import statistics

from harness import Bench, Measured, Row, Topic
from sql import Cluster, cluster

ROUNDS = 15
PAIRS = 100
STATEMENTS = 400  # in a block: about ten milliseconds, which most often nothing else interrupts

FUNCTIONS = f"""
CREATE TABLE accounts (aid int PRIMARY KEY, abalance int);
INSERT INTO accounts SELECT i, i FROM generate_series(1, 100000) i;
ANALYZE accounts;
CREATE FUNCTION block(ahead boolean) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    balance int;
BEGIN
    PERFORM set_config('steadytext.read_ahead', ahead::text, false);
    start := clock_timestamp();
    FOR i IN 1 .. {STATEMENTS} LOOP
        EXECUTE 'SELECT abalance FROM accounts WHERE aid = ' || i * 17 INTO STRICT balance;
    END LOOP;
    RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / {STATEMENTS};
END $$;
CREATE FUNCTION pairs() RETURNS TABLE (ahead float8, not_ahead float8) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. {PAIRS} LOOP
        IF i % 2 = 0 THEN
            ahead := block(true);
            not_ahead := block(false);
        ELSE
            not_ahead := block(false);
            ahead := block(true);
        END IF;
        CONTINUE WHEN i = 0;  -- what the session looks up first
        RETURN NEXT;
    END LOOP;
END $$
"""


def pairs(database: Cluster) -> list[tuple[float, float]]:
    rows = database.value("SELECT ahead, not_ahead FROM pairs()").splitlines()
    return [(float(ahead), float(not_ahead)) for ahead, not_ahead in (row.split("|") for row in rows)]


def measure(bench: Bench) -> dict[str, Measured]:
    ratios: list[float] = []
    times: dict[str, list[float]] = {"read_ahead on, us": [], "read_ahead off, us": []}
    with cluster("echo") as database:
        database.value(FUNCTIONS)
        for number in range(1, ROUNDS + 1):
            sample = pairs(database)
            ratios.append(statistics.median(ahead / not_ahead for ahead, not_ahead in sample))
            for values, column in zip(times.values(), zip(*sample)):
                values.append(statistics.median(column))
            bench.say(f"round {number}/{ROUNDS}: {ratios[-1]:.4f}")
    return {"planning_cost": Measured(ratios, times)}


TOPIC = Topic(
    "what read-ahead costs statements that make no calls",
    [Row("planning_cost", "statement that makes no calls, steadytext.read_ahead on / off", 1.01, "lower")],
    measure)
