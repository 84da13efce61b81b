"""What a rate limit costs: the check alone, two cores at once, beside a limiter made of a table, and in a cached call as a client sees it."""
import os
import pathlib
import re

from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 9
SECONDS = 0.5
TABLE_CALLS = 500
TRANSACTIONS = 20_000

# The limiter of the project's plan (task 1.2), its statements word for word, with the index it proposes.
TABLE_LIMITER = """
CREATE TABLE steadytext_rate_limits_sliding (id SERIAL PRIMARY KEY, user_id TEXT NOT NULL, timestamp TIMESTAMPTZ DEFAULT NOW(),
    endpoint TEXT, request_type TEXT);
CREATE INDEX idx_rate_limits_user_time ON steadytext_rate_limits_sliding(user_id, timestamp);
CREATE FUNCTION table_limiter_is_allowed(who text, most int, seconds int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now_ timestamptz := clock_timestamp();
    used bigint;
BEGIN
    BEGIN
        DELETE FROM steadytext_rate_limits_sliding WHERE user_id = who AND timestamp < now_ - make_interval(secs => seconds);
        SELECT COUNT(*) INTO used FROM steadytext_rate_limits_sliding WHERE user_id = who;
        IF used >= most THEN
            RETURN false;
        END IF;
        INSERT INTO steadytext_rate_limits_sliding (user_id, timestamp) VALUES (who, now_);
        RETURN true;
    EXCEPTION WHEN others THEN
        RAISE;
    END;
END $$;
"""


def checks(threads: int, meters: str) -> float:
    """Millions of checks per second, all threads together; each reads the clock, asks and charges."""
    return Bench.number(BUILD / "limit_checks", SECONDS, threads, meters, 1, "hot") / 1e6


def table_check_us(database: Cluster) -> float:
    database.value("TRUNCATE steadytext_rate_limits_sliding")
    statement = f"SELECT count(table_limiter_is_allowed($1::text, 1000000, 60)) FROM generate_series(1, {TABLE_CALLS})"
    return database.seconds(1, statement, TABLE_CALLS) / TABLE_CALLS * 1e6


def cached_call_us(database: Cluster, limited: bool) -> float:
    """Microseconds of a cached call as a client sees it: pgbench, one connection, prepared."""
    if limited:
        database.value("SELECT steadytext_rate_limit_set('postgres', requests => 2000000000)")
    script = BUILD / "limits.sql"
    script.write_text("SELECT steadytext_generate(:p);\n")
    program = pathlib.Path(Bench.output(os.environ["PG_CONFIG"], "--bindir").strip()) / "pgbench"
    shown = Bench.output(program, "-n", "-M", "prepared", "-c", 1, "-t", TRANSACTIONS, "-D", "p=a prompt", "-f", script,
                         env=database.environment)
    if limited:
        database.value("SELECT steadytext_rate_limit_remove('postgres')")
    return float(re.search(r"latency average = ([0-9.]+)", shown)[1]) * 1e3 if "tps" not in shown else \
        1e6 / float(re.search(r"tps = ([0-9.]+)", shown)[1])


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as database:
        database.value(TABLE_LIMITER)
        database.value("SELECT steadytext_generate('a prompt')")
        figures = bench.interleave(ROUNDS, {
            "one core": lambda: checks(1, "same"),
            "two cores, one meter": lambda: checks(2, "same"),
            "two cores, a meter each": lambda: checks(2, "own"),
            "table": lambda: table_check_us(database),
            "unlimited": lambda: cached_call_us(database, False),
            "limited": lambda: cached_call_us(database, True),
        })
    ns = [1e3 / rate for rate in figures["one core"]]
    overhead = [(ratio - 1) * 100 for ratio in ratios(figures["limited"], figures["unlimited"])]
    return {"limit_check_ns": Measured(ns),
            "limit_checks": Measured(figures["two cores, one meter"], {"a meter each, million/s": figures["two cores, a meter each"]}),
            "limit_table": Measured([us * 1e3 / each for us, each in zip(figures["table"], ns)], {"table, us": figures["table"]}),
            "limit_overhead": Measured(overhead, {"cached call, us": figures["unlimited"], "limited, us": figures["limited"]})}


TOPIC = Topic(
    "rate limits: the check, and what it adds to a cached call",
    [Row("limit_check_ns", "a check with its look at the clock, one core, ns", 50, "lower"),
     Row("limit_checks", "checks of one meter by two cores, million/s", 10, "higher"),
     Row("limit_table", "the plan's limiter in a table / a check", 100, "higher"),
     Row("limit_overhead", "what limits add to a cached call seen by a client, %", 2, "lower")],
    measure)
