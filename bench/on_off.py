"""What a switch costs: a function block(boolean) of the topic, run with the switch on and off.

One part in a hundred drowns in whatever else a machine does. So one session alternates between short blocks, on and off, each going first
in turn. Each block is compared with its neighbour alone; a sample is the median of many such pairs.
"""
import statistics

from harness import Bench, Measured
from sql import cluster

ROUNDS = 15
PAIRS = 100

PAIRS_FUNCTION = f"""
CREATE FUNCTION pairs() RETURNS TABLE (switched_on float8, switched_off float8) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. {PAIRS} LOOP
        IF i % 2 = 0 THEN
            switched_on := block(true);
            switched_off := block(false);
        ELSE
            switched_off := block(false);
            switched_on := block(true);
        END IF;
        CONTINUE WHEN i = 0;  -- the session plans its queries, and looks up what it needs
        RETURN NEXT;
    END LOOP;
END $$;
"""


def measure_switch(bench: Bench, row: str, setup: str, on: str, off: str) -> dict[str, Measured]:
    """`setup` makes block(boolean), which returns microseconds; `on` and `off` name the two times."""
    ratios: list[float] = []
    times: dict[str, list[float]] = {on: [], off: []}
    with cluster("echo") as database:
        database.value(PAIRS_FUNCTION + setup)
        for number in range(1, ROUNDS + 1):
            rows = database.value("SELECT switched_on, switched_off FROM pairs()").splitlines()
            sample = [(float(first), float(second)) for first, second in (line.split("|") for line in rows)]
            ratios.append(statistics.median(first / second for first, second in sample))
            for values, column in zip(times.values(), zip(*sample)):
                values.append(statistics.median(column))
            bench.say(f"round {number}/{ROUNDS}: {ratios[-1]:.4f}")
    return {row: Measured(ratios, times)}
