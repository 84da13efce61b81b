"""What read-ahead costs statements that use no function of this extension: they are looked through when they are planned.

Measured in pairs of short blocks of statements, with steadytext.read_ahead on and off (on_off.py). Each statement is
parsed, planned and run anew, as pgbench's select-only script is by the simple protocol, less the client.
"""
from harness import Bench, Measured, Row, Topic
from on_off import measure_switch

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
"""


def measure(bench: Bench) -> dict[str, Measured]:
    return measure_switch(bench, "planning_cost", FUNCTIONS, "read_ahead on, us", "read_ahead off, us")


TOPIC = Topic(
    "what read-ahead costs statements that make no calls",
    [Row("planning_cost", "statement that makes no calls, steadytext.read_ahead on / off", 1.01, "lower")],
    measure)
