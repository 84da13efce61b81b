"""What one role can learn of another's prompts by asking the same: nothing by hits, nothing by time."""
from harness import Bench, Measured, Row, Topic
from sql import Cluster, cluster

ROUNDS = 9
PAIRS = 10_000  # of calls: a prompt that the other role has an answer to in its cache, and one that nobody ever asked

SETUP = """
CREATE ROLE prober;
CREATE FUNCTION probe(round text, pairs int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz; took float8; was_cached boolean; hits int := 0; is_known boolean; known float8[]; fresh float8[];
BEGIN
    FOR i IN 2 .. 2 * pairs + 1 LOOP
        is_known := (i + i / 2) % 2 = 0;  -- of each pair now this one first, now that
        start := clock_timestamp();
        SELECT cached INTO was_cached FROM public.steadytext_generate_ex(concat(CASE WHEN is_known THEN 'secret ' ELSE 'public ' END, round, ' ', i / 2));
        took := extract(epoch FROM clock_timestamp() - start) * 1e6;
        hits := hits + was_cached::int;
        IF is_known THEN known[i / 2] := took; ELSE fresh[i / 2] := took; END IF;
    END LOOP;
    RETURN concat_ws(' ', hits, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(known) t),
                     (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(fresh) t));
END $$;
"""


class Prober:
    def __init__(self, database: Cluster):
        self.database = database
        self.rounds = 0
        self.hits: list[float] = []
        self.known_us: list[float] = []
        self.fresh_us: list[float] = []

    def difference(self) -> float:
        """Per cent between the medians of 20,000 calls."""
        self.rounds += 1
        asked = f"SELECT count(steadytext_generate('secret {self.rounds} ' || i)) FROM generate_series(1, {PAIRS}) i"
        assert self.database.value(asked) == str(PAIRS)
        hits, known, fresh = map(float, self.database.value(f"SET ROLE prober; SELECT probe('{self.rounds}', {PAIRS})").split())
        self.hits.append(hits)
        self.known_us.append(known)
        self.fresh_us.append(fresh)
        return abs(known / fresh - 1) * 100


def measure(bench: Bench) -> dict[str, Measured]:
    with cluster("echo", "steadytext.hot_cache_size = '256MB'", "steadytext.cache_write_memory = '256MB'") as database:
        database.value(SETUP)
        prober = Prober(database)
        figures = bench.interleave(ROUNDS, {"difference": prober.difference})
    return {"isolation_hits": Measured(prober.hits),
            "isolation_time": Measured(figures["difference"], {"known to another role, us": prober.known_us, "to nobody, us": prober.fresh_us})}


TOPIC = Topic(
    "roles: what one learns of another's prompts",
    [Row("isolation_hits", "hits of a role on another's cached prompts, of 10,000", 0, "lower"),
     Row("isolation_time", "medians of known and unknown prompts, 20,000 calls, differ by, %", 2, "lower")],
    measure)
