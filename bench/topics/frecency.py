"""What frecency costs with a million cached answers: the top of them, and evicting ten thousand; the original's SQL beside it.

Both tables have the same million rows, written in the order of their time, in one cluster. Each sample of an eviction takes ten
thousand rows more away from rows beyond the million.
"""
import re

import original
from harness import Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 7
MILLION = 1_000_000
EVICTED = 10_000
NO_LIMIT_MB = 1_000_000

# Answers of 210 bytes, one every 2.6 seconds of the last month; a few read often, most once, the last time soon after.
ROWS = f"""
    SELECT md5(i::text) || md5((-i)::text) AS cache_key, 'prompt number ' || i || repeat(' word', 20) AS prompt,
           repeat('answer ', 30) AS response, 1 + (random() ^ 8 * 20)::int AS access_count,
           least(now() - interval '1 s', at + random() ^ 4 * interval '3 days') AS last_accessed, at AS created_at
    FROM generate_series(1, {MILLION + EVICTED * ROUNDS}) i,
         LATERAL (SELECT now() - interval '2 hours' - ({MILLION + EVICTED * ROUNDS} - i) * interval '2.6 s' AS at) a"""
COLUMNS = "(cache_key, prompt, response, access_count, last_accessed, created_at)"


def milliseconds(database: Cluster, query: str, warm_up: str | None = None) -> float:
    """A query's time in a session that has run it, or `warm_up`, before; all rows go to the client."""
    shown = Bench.output("psql", "-XAtq", "-c", "\\timing on", "-c", warm_up or query, "-c", query, env=database.environment)
    return float(re.findall(r"^Time: ([0-9.]+) ms", shown, re.MULTILINE)[-1])


def fill(bench: Bench, database: Cluster) -> None:
    bench.say("writing a million rows three times, about a minute")
    database.value("SELECT setseed(0.1)")
    database.value(original.statements())
    database.value(f"INSERT INTO steadytext_cache {COLUMNS} {ROWS}")
    database.value(f"INSERT INTO original.steadytext_cache {COLUMNS} SELECT cache_key, prompt, response, access_count, last_accessed, "
                   "created_at FROM steadytext_cache ORDER BY id")
    database.value("CREATE TABLE plain AS SELECT * FROM steadytext_cache ORDER BY id")
    database.value("ALTER TABLE plain ADD PRIMARY KEY (id)")
    database.value("VACUUM (ANALYZE) plain")
    database.value("VACUUM (ANALYZE) steadytext_cache")
    database.value("VACUUM (ANALYZE) original.steadytext_cache")
    database.value("CHECKPOINT")


def evict(database: Cluster, schema: str, function: str) -> float:
    target = int(database.value(f"SELECT count(*) FROM {schema}.steadytext_cache")) - EVICTED
    call = f"SELECT * FROM {schema}.{function}({{}}, {NO_LIMIT_MB}, 1000)"
    took = milliseconds(database, call.format(target), warm_up=call.format(target + EVICTED))
    left = int(database.value(f"SELECT count(*) FROM {schema}.steadytext_cache"))
    if left != target:
        raise RuntimeError(f"{schema}.{function} left {left} rows instead of {target}")
    return took


def delete_oldest(database: Cluster) -> float:
    """As many rows, the first by the primary key, deleted from a table with the same rows and no other index."""
    return milliseconds(database, f"DELETE FROM plain WHERE id IN (SELECT id FROM plain ORDER BY id LIMIT {EVICTED})",
                        warm_up="SELECT count(*) FROM (SELECT id FROM plain ORDER BY id LIMIT 10) first")


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("none") as database:
        fill(bench, database)
        top = "SELECT cache_key, frecency_{} FROM {}.steadytext_cache_with_frecency ORDER BY frecency_{} DESC LIMIT 10"
        times = bench.interleave(ROUNDS, {
            "top": lambda: milliseconds(database, top.format("rank", "public", "rank")),
            "steadytext_cache_top": lambda: milliseconds(database, "SELECT * FROM steadytext_cache_top(10)"),
            "by score": lambda: milliseconds(database, top.format("score", "public", "score")),
            "ten rows by an index": lambda: milliseconds(database, "SELECT id, cache_key FROM steadytext_cache ORDER BY id DESC LIMIT 10"),
            "original's top": lambda: milliseconds(database, top.format("score", "original", "score")),
            "evict by frecency": lambda: evict(database, "public", "steadytext_cache_evict_by_frecency"),
            "evict by age": lambda: evict(database, "public", "steadytext_cache_evict_by_age"),
            "delete by an index": lambda: delete_oldest(database),
            "original's evict": lambda: evict(database, "original", "steadytext_cache_evict_by_age"),
        })
    slower_top = [max(pair) for pair in zip(times["top"], times["steadytext_cache_top"])]
    slower_evict = [max(pair) for pair in zip(times["evict by frecency"], times["evict by age"])]
    parts = {f"{name}, ms": values for name, values in times.items()}
    evicting = re.compile("evict|delete")
    tops = {title: values for title, values in parts.items() if not evicting.search(title)}
    evictions = {title: values for title, values in parts.items() if evicting.search(title)}
    return {"frecency_top_index": Measured(ratios(slower_top, times["ten rows by an index"]), tops),
            "frecency_top": Measured(ratios(slower_top, times["original's top"])),
            "eviction_delete": Measured(ratios(slower_evict, times["delete by an index"]), evictions),
            "eviction": Measured(ratios(slower_evict, times["original's evict"]))}


TOPIC = Topic(
    "frecency and eviction among a million cached answers, against the original's SQL",
    [Row("frecency_top_index", "frecency top 10 of 1M rows, the slower of two ways / by an index", 3, "lower"),
     Row("frecency_top", "frecency top 10 / the original's view", 0.10, "lower"),
     Row("eviction_delete", "evicting 10,000 of 1M rows / DELETE of as many by an index", 3, "lower"),
     Row("eviction", "evicting 10,000 of 1M rows / the original's, batch 1000", 0.05, "lower")],
    measure)
