"""What counting costs: a cached call, the cheapest there is, with steadytext.track_calls on and off.

One part in a hundred drowns in whatever else a machine does. So one session alternates between short blocks of calls, counted and not,
each going first in turn. Each block is compared with its neighbour alone; a sample is the median of many such pairs.
"""
import statistics

from harness import Bench, Measured, Row, Topic
from sql import Cluster, cluster

ROUNDS = 15
PAIRS = 100
CALLS = 5_000  # in a block: about ten milliseconds, which most often nothing else interrupts

# Microseconds of a call, the bare loop included. The prompt is a column, so that no call is made while planning.
FUNCTIONS = f"""
CREATE TABLE prompts AS SELECT string_agg(md5(i::text), ' ') AS p FROM generate_series(1, 31) i;
CREATE FUNCTION block(counted boolean) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    answers bigint;
BEGIN
    PERFORM set_config('steadytext.track_calls', counted::text, false);
    start := clock_timestamp();
    SELECT count(steadytext_generate(p)) INTO STRICT answers FROM prompts, generate_series(1, {CALLS});
    ASSERT answers = {CALLS};
    RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / {CALLS};
END $$;
CREATE FUNCTION pairs() RETURNS TABLE (counted float8, uncounted float8) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. {PAIRS} LOOP
        IF i % 2 = 0 THEN
            counted := block(true);
            uncounted := block(false);
        ELSE
            uncounted := block(false);
            counted := block(true);
        END IF;
        CONTINUE WHEN i = 0;  -- the session plans its queries
        RETURN NEXT;
    END LOOP;
END $$;
SELECT steadytext_generate(p) FROM prompts
"""


def pairs(database: Cluster) -> list[tuple[float, float]]:
    rows = database.value("SELECT counted, uncounted FROM pairs()").splitlines()
    return [(float(counted), float(uncounted)) for counted, uncounted in (row.split("|") for row in rows)]


def measure(bench: Bench) -> dict[str, Measured]:
    ratios: list[float] = []
    times: dict[str, list[float]] = {"counted, us": [], "uncounted, us": []}
    with cluster("echo") as database:
        database.value(FUNCTIONS)
        for number in range(1, ROUNDS + 1):
            sample = pairs(database)
            ratios.append(statistics.median(counted / uncounted for counted, uncounted in sample))
            for values, column in zip(times.values(), zip(*sample)):
                values.append(statistics.median(column))
            bench.say(f"round {number}/{ROUNDS}: {ratios[-1]:.4f}")
    return {"metrics_cost": Measured(ratios, times)}


TOPIC = Topic(
    "what counting costs a cached call",
    [Row("metrics_cost", "cached call in a statement, counted / not counted", 1.01, "lower")],
    measure)
