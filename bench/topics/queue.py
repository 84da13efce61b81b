"""The async queue: how soon a job begins, how many it carries out, beside the same queue written in plain SQL and the batch API.

No job is answered by a cache. For the jobs per second the echo daemon answers at once; they are queued beforehand, in one transaction, and
counted from the first claim to the last result. The queue in plain SQL has the same kind of row, lease, result and notification; its
clients do nothing between claim and result, ask no daemon, and each takes one job at a time, as such queues do. One that takes a
hundred at a time is among the parts.
"""
import os
import pathlib
import re

from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 7
STARTS = 100
JOBS = 20_000
BACKLOG = 1_000
SLOTS = 16
DELAY_MS = 5
CLIENTS = 8

PLAIN_QUEUE = """
CREATE TABLE plain_queue (id bigserial PRIMARY KEY, request_id uuid NOT NULL DEFAULT gen_random_uuid(), prompt text, user_id text NOT NULL
    DEFAULT current_user, priority int NOT NULL DEFAULT 5, status text NOT NULL DEFAULT 'pending', result text, created_at timestamptz
    NOT NULL DEFAULT now(), started_at timestamptz, completed_at timestamptz, worker_pid int, lease_until timestamptz);
CREATE UNIQUE INDEX ON plain_queue (request_id);
CREATE INDEX ON plain_queue (user_id, created_at DESC);
CREATE INDEX ON plain_queue (priority DESC, id) WHERE status = 'pending';
CREATE INDEX ON plain_queue (worker_pid) WHERE status = 'processing';
"""
PLAIN_CLAIM = """UPDATE plain_queue SET status = 'processing', started_at = clock_timestamp(), worker_pid = pg_backend_pid(),
    lease_until = clock_timestamp() + interval '30 seconds' WHERE id """
PLAIN_NEXT = "SELECT id FROM plain_queue WHERE status = 'pending' ORDER BY priority DESC, id LIMIT {} FOR UPDATE SKIP LOCKED"
PLAIN_FINISH = """UPDATE plain_queue SET status = 'completed', result = prompt, completed_at = clock_timestamp(), worker_pid = NULL,
    lease_until = NULL WHERE {} RETURNING pg_notify('plain_queue_done', json_build_object('request_id', request_id, 'status', status)::text)"""
PLAIN_ONE = f"""{PLAIN_CLAIM} = ({PLAIN_NEXT.format(1)}) RETURNING id \\gset
{PLAIN_FINISH.format("id = :id")};
"""
PLAIN_HUNDRED = f"""WITH mine AS ({PLAIN_CLAIM} IN ({PLAIN_NEXT.format(100)}) RETURNING id) SELECT count(*) FROM mine;
WITH done AS ({PLAIN_FINISH.format("status = 'processing' AND worker_pid = pg_backend_pid()")}) SELECT count(*) FROM done;
"""


def enqueue(asked: Cluster, count: int) -> None:
    asked.value("TRUNCATE steadytext_queue; SELECT count(steadytext_enqueue('generate', "
                "jsonb_build_object('prompt', 'job ' || i, 'max_tokens', 1, 'use_cache', false)))"
                f" FROM generate_series(1, {count}) i")


def wait_for_end(asked: Cluster) -> None:
    asked.wait_for("SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL", "0", "the queue does not get empty")
    if asked.value("SELECT count(*) FROM steadytext_queue WHERE status <> 'completed'") != "0":
        raise RuntimeError("jobs have failed")


def start_ms(asked: Cluster) -> float:
    """The median time between the begin of the transaction that queues a job and the job's own, one job after the other."""
    job = ("SELECT steadytext_enqueue('generate', '{\"prompt\": \"a job\", \"use_cache\": false}') AS id \\gset\n"
           "SELECT steadytext_get_async_result(:'id') AS result \\gset\n")
    asked.value("TRUNCATE steadytext_queue")
    Bench.output("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", env=asked.environment, input=job * STARTS)
    return median_start_ms(asked, "steadytext_queue")


def plain_start_ms(asked: Cluster) -> float:
    """The same of a queue in plain SQL, by the session that queued the job: a commit, and the next transaction's claim."""
    job = f"INSERT INTO plain_queue (prompt) VALUES ('a job');\n{PLAIN_CLAIM} = ({PLAIN_NEXT.format(1)});\n"
    asked.value("TRUNCATE plain_queue")
    Bench.output("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", env=asked.environment, input=job * STARTS)
    return median_start_ms(asked, "plain_queue")


def median_start_ms(asked: Cluster, table: str) -> float:
    return float(asked.value("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at) * 1000) "
                             f"FROM {table}"))


def plain_jobs_per_second(asked: Cluster, script: str, at_once: int) -> float:
    spare = 10 * CLIENTS * at_once  # so that a client that finds the last ones locked still finds one
    asked.value(f"TRUNCATE plain_queue; INSERT INTO plain_queue (prompt) SELECT 'job ' || i FROM generate_series(1, {JOBS + spare}) i")
    path = BUILD / "plain_queue.sql"
    path.write_text(script.replace("\n    ", " "))
    program = pathlib.Path(Bench.output(os.environ["PG_CONFIG"], "--bindir").strip()) / "pgbench"
    shown = Bench.output(program, "-n", "-M", "prepared", "-c", CLIENTS, "-j", 1, "-t", JOBS // CLIENTS // at_once, "-f", path,
                         env=asked.environment)
    if "aborted" in shown:
        raise RuntimeError(f"pgbench: {shown}")
    return float(re.search(r"tps = ([0-9.]+)", shown)[1]) * at_once


def backlog_per_second(asked: Cluster, jobs: int) -> float:
    enqueue(asked, jobs)
    wait_for_end(asked)
    return float(asked.value("SELECT count(*) / extract(epoch FROM max(completed_at) - min(started_at)) FROM steadytext_queue"))


def batch_per_second(asked: Cluster) -> float:
    statement = (f"SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'job ' || i FROM generate_series(1, {BACKLOG}) i), 1, false) "
                 "WHERE $1::text IS NOT NULL")
    return BACKLOG / asked.seconds(1, statement, BACKLOG)


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as asked:
        asked.value(PLAIN_QUEUE)
        fast = bench.interleave(ROUNDS, {
            "start": lambda: start_ms(asked),
            "plain start": lambda: plain_start_ms(asked),
            "jobs": lambda: backlog_per_second(asked, JOBS),
            "plain": lambda: plain_jobs_per_second(asked, PLAIN_ONE, 1),
            "plain, a hundred at a time": lambda: plain_jobs_per_second(asked, PLAIN_HUNDRED, 100),
        })
    with cluster("echo") as asked:
        asked.ask_echo("control", {"slots": SLOTS, "delay_ms": DELAY_MS})
        slow = bench.interleave(ROUNDS, {
            "backlog": lambda: backlog_per_second(asked, BACKLOG),
            "batch": lambda: batch_per_second(asked),
        })
    return {"queue_start": Measured(ratios(fast["start"], fast["plain start"]), {"a job, ms": fast["start"], "in plain SQL, ms": fast["plain start"]}),
            "queue_plain": Measured(ratios(fast["jobs"], fast["plain"]), {"jobs/s": fast["jobs"], "in plain SQL, jobs/s": fast["plain"]}),
            "queue_hundred": Measured(ratios(fast["jobs"], fast["plain, a hundred at a time"]),
                                      {"in plain SQL, a hundred at a time, jobs/s": fast["plain, a hundred at a time"]}),
            "queue_backlog": Measured(ratios(slow["backlog"], slow["batch"]),
                                      {"queue, jobs/s": slow["backlog"], "batch, prompts/s": slow["batch"]})}


TOPIC = Topic(
    f"the async queue: {JOBS} no-op jobs, beside a queue in plain SQL; {BACKLOG} jobs beside a batch",
    [Row("queue_start", "a job's start after its transaction's / a claim in plain SQL", 2, "lower"),
     Row("queue_plain", "no-op jobs/s / those of a queue in plain SQL that does nothing", 1, "higher"),
     Row("queue_hundred", "no-op jobs/s / the same, a hundred jobs at a time", 1.5, "higher"),
     Row("queue_backlog", f"a backlog's jobs/s / a batch's prompts/s, {SLOTS} slots of {DELAY_MS} ms", 0.95, "higher")],
    measure)
