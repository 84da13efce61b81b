"""What connections that are kept are worth: their cost, requests per second, a daemon kept busy, a daemon that is down."""

from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster, generate_calls, raw_router

ROUNDS = 9
SESSIONS = 32
CALLS = 1500  # by each session
RAW_CALLS = 2000
SLOTS = 64
DELAY_MS = 50
SLOT_CALLS = 40  # by each of as many sessions as the daemon has slots
REFUSED_CALLS = 2000

# Milliseconds of each call, within one statement; every one must come to nothing.
REFUSED = f"""SET client_min_messages = error; SET steadytext.on_failure = 'null';
    WITH began AS MATERIALIZED (SELECT clock_timestamp() AS at),
         calls AS MATERIALIZED (SELECT count(*) AS n FROM began, generate_series(1, {REFUSED_CALLS}) i
                                WHERE steadytext_generate('call ' || i, use_cache => false) IS NULL)
    SELECT CASE WHEN n = {REFUSED_CALLS} THEN extract(epoch FROM clock_timestamp() - at) * 1000 / n END FROM began, calls"""


def connections_per_request(database: Cluster) -> float:
    """What the daemon counted, of all sessions together; the one who asks is no session."""
    told = database.ask_echo("stats", {})
    return (told["peers"] - 1) / told["requests"]["generate"]


def slots_per_second(database: Cluster) -> float:
    database.ask_echo("control", {"delay_ms": DELAY_MS, "slots": SLOTS})
    seconds = database.seconds(SLOTS, generate_calls(SLOT_CALLS), SLOT_CALLS)
    database.ask_echo("control", {"delay_ms": 0, "slots": 1 << 20})
    return SLOTS * SLOT_CALLS / seconds


def answered_ms(database: Cluster) -> float:
    return database.seconds(1, generate_calls(REFUSED_CALLS), REFUSED_CALLS) * 1000 / REFUSED_CALLS


def refused_ms(database: Cluster) -> float:
    database.value("SELECT steadytext_daemon_trip(endpoint) FROM steadytext_daemons")
    each = float(database.value(REFUSED))
    database.value("SELECT steadytext_daemon_reset(endpoint) FROM steadytext_daemons")
    return each


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as database, raw_router() as endpoint:
        figures = bench.interleave(ROUNDS, {
            "SQL": lambda: SESSIONS * CALLS / database.seconds(SESSIONS, generate_calls(CALLS), CALLS),
            "connecting each time": lambda: Bench.number(BUILD / "raw_zmq", "reconnecting", endpoint, RAW_CALLS, SESSIONS),
            "one client": lambda: 1e6 / Bench.number(BUILD / "raw_zmq", "reconnecting", endpoint, RAW_CALLS, 1),
            "one client, connected": lambda: Bench.number(BUILD / "raw_zmq", "round_trip", endpoint, RAW_CALLS),
            "connections per request": lambda: connections_per_request(database),
            "slots": lambda: slots_per_second(database),
            "refused": lambda: refused_ms(database),
            "answered": lambda: answered_ms(database),
        })
    connecting_us = [each - kept for each, kept in zip(figures["one client"], figures["one client, connected"])]
    return {
        "pool_connection_cost": Measured([100 * (1 - share) for share in figures["connections per request"]],
                                         {"a connection, µs": connecting_us,
                                          "a request on one that is kept, µs": figures["one client, connected"]}),
        "pool_throughput": Measured(ratios(figures["SQL"], figures["connecting each time"]),
                                    {"SQL, requests/s": figures["SQL"],
                                     "connecting each time, requests/s": figures["connecting each time"]}),
        "pool_slots": Measured([each / (SLOTS * 1000 / DELAY_MS) for each in figures["slots"]],
                               {"requests/s": figures["slots"]}),
        "pool_breaker": Measured(ratios(figures["refused"], figures["answered"]),
                                 {"while the breaker is open, ms": figures["refused"], "answered, ms": figures["answered"]}),
    }


TOPIC = Topic(
    "connections that are kept: their cost, throughput, a daemon kept busy, a daemon that is down",
    [Row("pool_connection_cost", "connection cost saved per request, %", 80, "higher"),
     Row("pool_throughput", f"SQL requests/s, {SESSIONS} sessions / as many that connect each time", 5, "higher"),
     Row("pool_slots", f"a {DELAY_MS} ms daemon of {SLOTS} slots, {SLOTS} sessions / the ideal", 0.95, "higher"),
     Row("pool_breaker", "a call while the breaker is open / an answered one", 0.25, "lower")],
    measure)
