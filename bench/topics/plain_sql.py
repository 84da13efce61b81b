"""Plain SQL that makes a call for each of its rows, against steadytext_generate_batch: read-ahead asks for as many at once.

Each sample asks for texts that nobody asked for before, with the same number of rows. The echo daemon takes 50 ms in each of 64 slots;
steadytextd generates four tokens for each row. And how much of ZeroMQ's own throughput a single session reaches at an echo daemon that answers at once.
"""
from daemons import steadytextd_for_sql
from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster, generate_calls, raw_router

ROUNDS = 7
ROWS = {"echo": 1000, "steadytextd": 32}
TOKENS = 4
CALLS = 20000  # of a session, at a daemon that answers at once
RAW_CALLS = 200000
WINDOW = 64
FORMS = {
    "SELECT": "SELECT count(answer) FROM (SELECT {call} AS answer FROM docs OFFSET 0) q WHERE $1::text IS NOT NULL",
    "WHERE": "SELECT count(*) FROM docs WHERE {call} IS NOT NULL AND $1::text IS NOT NULL",
    "aggregate": "SELECT count({call}) FROM docs WHERE $1::text IS NOT NULL",
    "UPDATE": "WITH w AS (UPDATE docs SET answer = {call} RETURNING 1) SELECT count(*) FROM w WHERE $1::text IS NOT NULL",
    "INSERT ... SELECT": "WITH w AS (INSERT INTO copy SELECT {call} FROM docs RETURNING 1) SELECT count(*) FROM w WHERE $1::text IS NOT NULL",
}
BATCH = "SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT {text} FROM docs), {tokens}, false) WHERE $1::text IS NOT NULL"


def compare(bench: Bench, asked: Cluster, daemon: str) -> dict[str, Measured]:
    rows = ROWS[daemon]
    asked.value(f"CREATE TABLE docs AS SELECT i AS id, 'the story of number ' || i AS body, '' AS answer FROM generate_series(1, {rows}) i; "
                "CREATE TABLE copy (answer text); ANALYZE docs")
    number = 0

    def per_second(form: str) -> float:
        nonlocal number
        number += 1
        text = f"'Tell {number} ' || body"
        call = f"steadytext_generate({text}, {TOKENS}, false)"
        statement = BATCH.format(text=text, tokens=TOKENS) if form == "batch" else FORMS[form].format(call=call)
        return rows / asked.seconds(1, statement, rows)

    for form in ("batch", *FORMS):
        per_second(form)
    samples = bench.interleave(ROUNDS, {form: lambda form=form: per_second(form) for form in ("batch", *FORMS)})
    return {f"plain_{daemon}_{form.split()[0].lower()}": Measured(ratios(samples[form], samples["batch"]),
                                                                 {f"{form}, rows/s": samples[form], "batch, rows/s": samples["batch"]})
            for form in FORMS}


def one_session(bench: Bench) -> Measured:
    with cluster("echo", "jit = off") as echo, raw_router() as endpoint:
        statement = generate_calls(CALLS)
        per_second = bench.interleave(ROUNDS, {
            "SQL": lambda: CALLS / echo.seconds(1, statement, CALLS),
            "raw ZeroMQ": lambda: Bench.number(BUILD / "raw_zmq", "pipelined", endpoint, RAW_CALLS, WINDOW),
        })
    return Measured(ratios(per_second["SQL"], per_second["raw ZeroMQ"]), {f"{name}, requests/s": values for name, values in per_second.items()})


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo", "jit = off") as asked:
        asked.ask_echo("control", {"slots": 64, "delay_ms": 50})
        measured = compare(bench, asked, "echo")
    measured["plain_one_session"] = one_session(bench)
    with steadytextd_for_sql() as daemon, cluster("none", "jit = off", f"steadytext.daemons = '{daemon.endpoint}'", "steadytext.request_timeout = '10min'") as asked:
        asked.wait_for("SELECT state FROM steadytext_daemons", "ready", "the daemon is not ready")
        return measured | compare(bench, asked, "steadytextd")


TOPIC = Topic(
    "plain SQL against steadytext_generate_batch",
    [Row("plain_one_session", "echo requests/s of one session / raw pipelined ZeroMQ", 0.2, "higher"),
     *(Row(f"plain_{daemon}_{form.split()[0].lower()}", f"{title}, {form} / batch", 0.95, "higher")
     for daemon, title in (("echo", "echo daemon of 64 slots, 50 ms"), ("steadytextd", "steadytextd")) for form in FORMS)],
    measure)
