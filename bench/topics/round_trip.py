"""What a request from SQL costs beyond what its parts cost alone: one ZeroMQ round trip and two latch hops."""
from harness import BUILD, ROOT, Bench, Measured, Row, Topic
from sql import cluster, generate_calls, raw_router

ROUNDS = 25  # hops are fast or slow by turns, as cores sleep or not
CALLS = 2500
RAW_CALLS = 3000
HOPS = 4000


def measure(bench: Bench) -> dict[str, Measured]:
    Bench.output("make", "-s", "-C", ROOT / "bench" / "latch_hop", "install")
    with cluster("echo") as echo, raw_router() as endpoint:
        echo.value("CREATE FUNCTION latch_round_trip(int) RETURNS float8 AS 'latch_hop' LANGUAGE c STRICT")
        statement = generate_calls(CALLS)
        us = bench.interleave(ROUNDS, {
            "SQL": lambda: echo.seconds(1, statement, CALLS) / CALLS * 1e6,
            "raw ZeroMQ": lambda: Bench.number(BUILD / "raw_zmq", "round_trip", endpoint, RAW_CALLS),
            "two latch hops": lambda: float(echo.value(f"SELECT latch_round_trip({HOPS})")),
        })
    floor = [raw + hops for raw, hops in zip(us["raw ZeroMQ"], us["two latch hops"])]
    samples = [sql / least for sql, least in zip(us["SQL"], floor)]
    return {"round_trip": Measured(samples, {f"{name}, µs": values for name, values in us.items()})}


TOPIC = Topic(
    "a call from SQL against its parts measured alone, over ipc",
    [Row("round_trip", "SQL round trip / (raw round trip + two latch hops)", 1.5, "lower")],
    measure)
