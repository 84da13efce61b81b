"""What counting costs: a cached call, the cheapest there is, with steadytext.track_calls on and off."""
from harness import Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 25
CALLS = 200_000


def per_call(database: Cluster, counted: str) -> float:
    """Microseconds of a cached call inside a statement, the bare loop included."""
    statement = (f"SELECT count(steadytext_generate(p)) FROM prompts, generate_series(1, {CALLS}) "
                 f"WHERE set_config('steadytext.track_calls', '{counted}', false) = '{counted}' AND $1::text IS NOT NULL")
    return database.seconds(1, statement, CALLS) / CALLS * 1e6


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as database:
        database.value("CREATE TABLE prompts AS SELECT string_agg(md5(i::text), ' ') AS p FROM generate_series(1, 31) i; "
                       "SELECT steadytext_generate(p) FROM prompts")
        calls = bench.interleave(ROUNDS, {"counted, us": lambda: per_call(database, "on"),
                                          "uncounted, us": lambda: per_call(database, "off")})
    return {"metrics_cost": Measured(ratios(*calls.values()), calls)}


TOPIC = Topic(
    "what counting costs a cached call",
    [Row("metrics_cost", "cached call in a statement, counted / not counted", 1.01, "lower")],
    measure)
