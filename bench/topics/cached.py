"""What a cached call costs beside md5() of the same prompt, in a statement and as one; and with a million answers, beside a bare hash table."""
import os
import pathlib
import re

from harness import BUILD, ROOT, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 9
CALLS = 100_000
CLIENTS = 8
SECONDS = 2
SIZES = (1_000, 100_000, 1_000_000)
HITS = 200_000


def per_call(database: Cluster, expression: str) -> float:
    """Microseconds of one evaluation over a row's 1 KB prompt, less those of the bare loop."""
    def seconds(what: str) -> float:
        return database.seconds(1, f"SELECT count({what}) FROM prompts, generate_series(1, {CALLS}) WHERE $1::text IS NOT NULL", CALLS)
    return (seconds(expression) - seconds("p")) / CALLS * 1e6


def per_second(database: Cluster, statement: str) -> float:
    """Transactions per second of pgbench's prepared statement with the prompt as its parameter."""
    script = BUILD / "cached.sql"
    script.write_text(statement + "\n")
    program = pathlib.Path(Bench.output(os.environ["PG_CONFIG"], "--bindir").strip()) / "pgbench"
    shown = Bench.output(program, "-n", "-M", "prepared", "-c", CLIENTS, "-j", 2, "-T", SECONDS, "-D",
                         "p=" + database.value("SELECT p FROM prompts"), "-f", script, env=database.environment)
    return float(re.search(r"tps = ([0-9.]+)", shown)[1])


# A prompt of a hundred bytes, which the echo daemon answers with itself.
PROMPT = "'an answer of a hundred bytes, more or less, which is what the number that follows here makes of it: ' || lpad(({})::text, 7, '0')"


# Parameters as many as a generation's key has; taking the jsonb apart costs more than hashing it.
PARAMS = ('{"eos_string": "[EOS]", "fingerprint": "0123456789abcdef", "max_tokens": 512, "model": "", '
          '"scope": "database/role", "seed": 42, "size": "", "temperature": 0.0}')


def fill(bench: Bench, database: Cluster) -> None:
    bench.say(f"caching {SIZES[-1]} answers")
    for begin in range(0, SIZES[-1], 100_000):
        prompt = PROMPT.format(f"{begin} + i")
        database.seconds(8, f"SELECT count(steadytext_generate({prompt})) FROM generate_series($1::int % 8, 99999, 8) i", 12500)
    database.value("SELECT steadytext_frecency_refresh()")


def random_hits(database: Cluster, size: int) -> float:
    """Microseconds of a hit among the first `size` answers, in random order, the making of the prompt included."""
    prompt = PROMPT.format(f"i::bigint * 7919 % {size}")
    statement = f"SELECT count(steadytext_generate({prompt})) FROM generate_series(1, {HITS}) i WHERE $1::text IS NOT NULL"
    return database.seconds(1, statement, HITS) / HITS * 1e6


def bare_lookup(size: int) -> float:
    """Microseconds of such a lookup in a bare hash table, by keys and with values as large as those of the answers."""
    return Bench.number(BUILD / "bare_table", size, HITS)


def growth(times: dict[str, list[float]], title: str) -> list[float]:
    """How much longer a lookup takes among the most answers than among the fewest, microseconds."""
    return [most - fewest for fewest, most in zip(times[title.format(SIZES[0])], times[title.format(SIZES[-1])])]


def key_collisions() -> list[float]:
    return [float(line) for line in Bench.output(BUILD / "key_collisions").split()]


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo") as database:
        database.value("CREATE TABLE prompts AS SELECT string_agg(md5(i::text), ' ') AS p FROM generate_series(1, 31) i; "
                       "SELECT steadytext_generate(p) FROM prompts")
        inside = bench.interleave(ROUNDS, {
            "hit, us": lambda: per_call(database, "steadytext_generate(p)"),
            "key, us": lambda: per_call(database, "steadytext_cache_key(p)"),
            "key with eight parameters, us": lambda: per_call(database, f"steadytext_cache_key(p, '{PARAMS}')"),
            "md5, us": lambda: per_call(database, "md5(p)"),
        })
        alone = bench.interleave(ROUNDS, {
            "cached, transactions/s": lambda: per_second(database, "SELECT steadytext_generate(:p)"),
            "md5, transactions/s": lambda: per_second(database, "SELECT md5(:p)"),
        })
    with cluster("echo", "steadytext.hot_cache_size = '1GB'", "shared_buffers = '128MB'") as database:
        fill(bench, database)
        hit, bare = "hit among {} answers, us", "bare hash table of {}, us"
        sizes = bench.interleave(ROUNDS, {hit.format(size): lambda size=size: random_hits(database, size) for size in SIZES} |
                                 {bare.format(size): lambda size=size: bare_lookup(size) for size in SIZES})
    bench.say("looking for collisions among seventy million keys")
    return {"cached_hit": Measured(ratios(inside["hit, us"], inside["md5, us"]), inside),
            "cached_tps": Measured(ratios(*alone.values()), alone),
            "cache_key": Measured(ratios(inside["key, us"], inside["md5, us"])),
            "cached_growth": Measured(ratios(growth(sizes, hit), growth(sizes, bare)), sizes),
            "key_collisions": Measured(key_collisions())}


TOPIC = Topic(
    "a cached call beside md5(), and among a million others",
    [Row("cached_hit", "hot hit inside a statement, 1 KB prompt / md5()", 1, "lower"),
     Row("cached_tps", f"cached transactions/s, {CLIENTS} clients / md5()", 0.8, "higher"),
     Row("cache_key", "key of a 1 KB prompt / md5()", 0.5, "lower"),
     Row("cached_growth", "hot hit's growth from 1k to 1M answers / a bare table's", 1.2, "lower"),
     Row("key_collisions", "equal keys of 10M different inputs", 0, "lower")],
    measure)
