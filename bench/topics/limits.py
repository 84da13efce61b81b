"""What a rate limit costs: the check beside an atomic add, of one core and of two, beside a limiter made of a table, and in a cached call."""
from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 9
SECONDS = 0.5
TABLE_CALLS = 500
PAIRS, CALLS = 40, 250

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


def adds(threads: int) -> float:
    """Millions per second of what no limiter goes without: a look at the clock and an atomic add, all threads to one counter."""
    return Bench.number(BUILD / "limit_checks", SECONDS, threads, "same", 1, "add") / 1e6


def table_check_us(database: Cluster) -> float:
    database.value("TRUNCATE steadytext_rate_limits_sliding")
    statement = f"SELECT count(table_limiter_is_allowed($1::text, 1000000, 60)) FROM generate_series(1, {TABLE_CALLS})"
    return database.seconds(1, statement, TABLE_CALLS) / TABLE_CALLS * 1e6


class CachedCalls:
    """A cached call as a client sees it, with a limit and without, in short blocks of one session that alternate."""

    ON = "SELECT steadytext_rate_limit_set('postgres', requests => 2000000000)"
    OFF = "SELECT steadytext_rate_limit_remove('postgres')"

    def __init__(self, database: Cluster):
        self.database = database
        self.unlimited_us: list[float] = []
        self.limited_us: list[float] = []

    def overhead(self) -> float:
        """Per cent, the median over the pairs of blocks."""
        shown = Bench.output(BUILD / "paired_calls", PAIRS, CALLS, "SELECT steadytext_generate($1)", "a prompt", self.ON, self.OFF,
                             env=self.database.environment)
        ratio, off, on = map(float, shown.split())
        self.unlimited_us.append(off)
        self.limited_us.append(on)
        return (ratio - 1) * 100


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as database:
        database.value(TABLE_LIMITER)
        calls = CachedCalls(database)
        figures = bench.interleave(ROUNDS, {
            "one core": lambda: checks(1, "same"),
            "two cores, one meter": lambda: checks(2, "same"),
            "two cores, a meter each": lambda: checks(2, "own"),
            "adds": lambda: adds(1),
            "adds of two cores": lambda: adds(2),
            "table": lambda: table_check_us(database),
            "overhead": calls.overhead,
        })
    ns = [1e3 / rate for rate in figures["one core"]]
    return {"limit_check": Measured(ratios(figures["adds"], figures["one core"]),
                                    {"a check, ns": ns, "a look at the clock and an add, ns": [1e3 / rate for rate in figures["adds"]]}),
            "limit_checks": Measured(ratios(figures["adds of two cores"], figures["two cores, one meter"]),
                                     {"one meter, million/s": figures["two cores, one meter"],
                                      "a meter each, million/s": figures["two cores, a meter each"],
                                      "adds, million/s": figures["adds of two cores"]}),
            "limit_table": Measured([us * 1e3 / each for us, each in zip(figures["table"], ns)], {"table, us": figures["table"]}),
            "limit_overhead": Measured(figures["overhead"], {"cached call, us": calls.unlimited_us, "limited, us": calls.limited_us})}


TOPIC = Topic(
    "rate limits: the check, and what it adds to a cached call",
    [Row("limit_check", "a check / a look at the clock and an atomic add", 1.8, "lower"),
     Row("limit_checks", "the same, two cores of one meter / of one counter", 2.5, "lower"),
     Row("limit_table", "the plan's limiter in a table / a check", 100, "higher"),
     Row("limit_overhead", "what limits add to a cached call seen by a client, %", 2, "lower")],
    measure)
