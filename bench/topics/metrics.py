"""What counting costs: a cached call, the cheapest there is, with steadytext.track_calls on and off.

Measured in pairs of short blocks of calls, counted and not (on_off.py).
"""
from harness import Bench, Measured, Row, Topic
from on_off import measure_switch

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
SELECT steadytext_generate(p) FROM prompts
"""


def measure(bench: Bench) -> dict[str, Measured]:
    return measure_switch(bench, "metrics_cost", FUNCTIONS, "counted, us", "uncounted, us")


TOPIC = Topic(
    "what counting costs a cached call",
    [Row("metrics_cost", "cached call in a statement, counted / not counted", 1.01, "lower")],
    measure)
