"""How much of ZeroMQ's own throughput 32 sessions of SQL reach through one gateway."""
from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import cluster, generate_calls, raw_router

ROUNDS = 9
SESSIONS = 32
CALLS = 5000  # by each session
RAW_CALLS = 400000
WINDOW = 64


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as echo, raw_router() as endpoint:
        statement = generate_calls(CALLS)
        per_second = bench.interleave(ROUNDS, {
            "SQL": lambda: SESSIONS * CALLS / echo.seconds(SESSIONS, statement, CALLS),
            "raw ZeroMQ": lambda: Bench.number(BUILD / "raw_zmq", "pipelined", endpoint, RAW_CALLS, WINDOW),
        })
    samples = ratios(per_second["SQL"], per_second["raw ZeroMQ"])
    return {"throughput": Measured(samples, {f"{name}, requests/s": values for name, values in per_second.items()})}


TOPIC = Topic(
    f"echo requests per second of {SESSIONS} sessions against pipelined ZeroMQ, {WINDOW} in flight",
    [Row("throughput", f"SQL requests/s, {SESSIONS} sessions / raw pipelined ZeroMQ", 0.28, "higher")],
    measure)
