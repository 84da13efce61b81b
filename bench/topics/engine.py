"""How much of llama.cpp's own speed steadytextd gives its clients, and what it gains by computing a shared instruction once.

Tokens generated per second over the time from the first request to the last answer, reading the prompts included, on both
sides. One thread count for both. Prompts are picked whose greedy answers are long.

Rows of steadytext_classify per second: by SQL, with steadytextd that keeps prefixes and with one that does not; and what
llama-server does with the same prompts, its prompt cache on and a client for each of its slots.

The 99th percentile of a session's calls, one after the other, beside ten thousand jobs of the queue and without.

Texts embedded per second, sentences and texts of 400 tokens, against the best of what else is at hand with the same model and threads.

BENCH_ENGINE="check rows tokens texts classes" picks parts; the rows of the others are missing then.
"""
import contextlib
import json
import os
import pathlib
import random
import re
import secrets
import statistics
import string

from daemons import THREADS, Daemon, LlamaServer, llama_server, model, prompts_from, steadytextd, steadytextd_for_sql
from embedders import fastembed, llama_embedder, ours
from harness import ROOT, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 7
NEW_TOKENS = 64
CONTEXT = 2048  # of each slot: steadytextd's default
CLIENTS = 16
LETTERS = string.ascii_uppercase  # a token each, after a space
ALONE = 4  # requests of a sample with one client


def long_prompts(daemon: Daemon, count: int) -> list[str]:
    """Prompts that are answered with all the tokens they may be."""
    source = prompts_from()
    found: list[str] = []
    while len(found) < count:
        candidates = [next(source) for _ in range(CLIENTS)]
        _, answers = daemon.generate(CLIENTS, candidates, NEW_TOKENS, return_usage=True)
        found += [p for p, answer in zip(candidates, answers) if answer["completion_tokens"] == NEW_TOKENS]
    return found[:count]


def fresh(prompt: str) -> str:
    """Ends as no prompt of an earlier run: the daemon may not answer from a cache of its own."""
    return f"{prompt} {' '.join(secrets.choice(LETTERS) for _ in range(5))}"


def tokens_per_second(daemon: Daemon, clients: int, prompts: list[str]) -> float:
    seconds, answers = daemon.generate(clients, [fresh(prompt) for prompt in prompts], NEW_TOKENS, return_usage=True)
    return sum(answer["completion_tokens"] for answer in answers) / seconds


def batched_bench(prompt_tokens: int) -> dict[int, float]:
    """llama-batched-bench's own tokens per second, by batch size."""
    program = pathlib.Path(Bench.output("scripts/build-llama", "--print-dir").strip()) / "bin" / "llama-batched-bench"
    shown = Bench.output(program, "-m", model(), "-c", CLIENTS * CONTEXT, "-npp", prompt_tokens,
                         "-ntg", NEW_TOKENS, "-npl", f"1,{CLIENTS}", "-t", THREADS, "-tb", THREADS,
                         "--output-format", "jsonl")
    rows = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    return {row["pl"]: row["pl"] * NEW_TOKENS / (row["t_pp"] + row["t_tg"]) for row in rows}


# ---- rows that share an instruction ----

LABELS = ("billing refund login password delivery damage warranty returns praise complaint question bug crash slow feature account "
          "privacy spam invoice discount address cancel upgrade other").split()
CLASSIFIED = {"kept": 72, "not kept": 24, "llama-server": 72}  # rows of a sample: 504 of the first kind in all rounds
WORDS_OF_ROW = 20


def row_texts(count: int, words_each: int = WORDS_OF_ROW) -> list[str]:
    """No text twice, not in another run either."""
    words = (ROOT / "demo" / "sentences.txt").read_text().split()
    return [" ".join(random.choices(words, k=words_each)) for _ in range(count)]


def classify_prompt(text: str) -> str:
    """What the model is asked by steadytext_classify, with what steadytextd tells it of the choices."""
    labels = "".join(f"\n- {label}" for label in LABELS)
    choices = "\n".join(LABELS)
    return f"Say which label fits a text best.\n\nLabels:{labels}\n\nText:\n\nAnswer with one of these:\n{choices}\n\n {text}"


GRAMMAR = "root ::= " + " | ".join(f'"{label}"' for label in LABELS)


class Classifier:
    """Asks the rows of a sample of each of the three."""

    def __init__(self, server: Cluster, daemons: dict[str, Daemon], llama: LlamaServer):
        self.server, self.daemons, self.llama = server, daemons, llama
        server.value("CREATE TABLE IF NOT EXISTS tickets (body text)")

    def rows_per_second(self, side: str, count: int) -> float:
        texts = row_texts(count)
        if side == "llama-server":
            seconds, answers = self.llama.seconds([classify_prompt(text) for text in texts], grammar=GRAMMAR, max_tokens=16)
            if any(answer["choices"][0]["message"]["content"] not in LABELS for answer in answers):
                raise RuntimeError("llama-server gave no label")
            return count / seconds
        self.server.value(f"ALTER SYSTEM SET steadytext.daemons = '{self.daemons[side].endpoint}'")
        self.server.value("SELECT pg_reload_conf()")
        self.server.wait_for("SELECT string_agg(endpoint || ' ' || state, ',') FROM steadytext_daemons", self.daemons[side].endpoint + " ready",
                             f"the daemon for prefixes {side} is not ready")
        rows = ", ".join(f"($words${text}$words$)" for text in texts)
        self.server.value(f"TRUNCATE tickets; INSERT INTO tickets VALUES {rows}")
        labels = "ARRAY['" + "', '".join(LABELS) + "']"
        return count / self.server.seconds(1, f"SELECT count(steadytext_classify(body, {labels})) FROM tickets WHERE $1::text IS NOT NULL", count)

    def check_prompts(self) -> None:
        """Both sides must be asked the same."""
        prompt = classify_prompt("a lamp for the hall")
        ours = self.daemons["kept"].generate(1, [prompt], 1, return_usage=True)[1][0]["prompt_tokens"]
        theirs = self.llama.seconds([prompt], max_tokens=1)[1][0]["usage"]["prompt_tokens"]
        if abs(ours - theirs) > 2:
            raise RuntimeError(f"a prompt has {ours} tokens here and {theirs} in llama-server")


def compare_rows(bench: Bench) -> dict[str, Measured]:
    with steadytextd_for_sql() as kept, steadytextd_for_sql("--prefix-memory", 0) as not_kept, llama_server(CLIENTS, CONTEXT) as llama, \
            cluster("none", "steadytext.cache_enabled = off", "steadytext.request_timeout = '10min'") as server:
        asked = Classifier(server, {"kept": kept, "not kept": not_kept}, llama)
        asked.check_prompts()
        for side in CLASSIFIED:  # each slot of llama-server computes the instruction once
            asked.rows_per_second(side, CLIENTS)
        samples = bench.interleave(ROUNDS, {side: lambda side=side: asked.rows_per_second(side, CLASSIFIED[side]) for side in CLASSIFIED})
    parts = {f"{side}, rows/s": samples[side] for side in CLASSIFIED}
    return {"engine_prefix_kept": Measured(ratios(samples["kept"], samples["not kept"]), parts),
            "engine_prefix_llama_server": Measured(ratios(samples["kept"], samples["llama-server"]), parts)}


# ---- a session beside jobs ----

BACKLOG = 10_000
CALLS_BESIDE = 100
BESIDE = """
CREATE FUNCTION p99_ms(calls int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE start timestamptz; took float8[];
BEGIN
    FOR i IN 1 .. calls LOOP
        start := clock_timestamp();
        PERFORM steadytext_generate('Tell a story of the number ' || i, 16, use_cache => false);
        took[i] := extract(epoch FROM clock_timestamp() - start) * 1000;
    END LOOP;
    RETURN (SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY t) FROM unnest(took) t);
END $$;
"""


class Session:
    """Its calls with jobs at work, or without."""

    def __init__(self, server: Cluster):
        self.server = server
        server.value(BESIDE)
        self.jobs_done: list[float] = []

    def p99_ms(self) -> float:
        return float(self.server.value(f"SELECT p99_ms({CALLS_BESIDE})"))

    def p99_ms_beside_jobs(self) -> float:
        self.server.value("SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', 'Tell a story of job ' || i, 'max_tokens', 64, "
                          f"'use_cache', false))) FROM generate_series(1, {BACKLOG}) i")
        self.server.wait_for("SELECT count(*) > 0 FROM steadytext_queue WHERE status = 'completed'", "t", "no job is done")
        before = self.jobs("completed")
        p99 = self.p99_ms()
        self.jobs_done.append(self.jobs("completed") - before)
        if self.jobs("failed"):
            raise RuntimeError("jobs have failed")
        self.server.value("SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL")
        self.server.wait_for("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'", "0", "the jobs do not stop")
        self.server.value("TRUNCATE steadytext_queue")
        return p99

    def jobs(self, status: str) -> int:
        return int(self.server.value(f"SELECT count(*) FROM steadytext_queue WHERE status = '{status}'"))


def compare_classes(bench: Bench) -> dict[str, Measured]:
    with steadytextd_for_sql() as daemon, cluster("none", f"steadytext.daemons = '{daemon.endpoint}'", "steadytext.request_timeout = '10min'") as server:
        session = Session(server)
        server.wait_for("SELECT state FROM steadytext_daemons", "ready", "the daemon is not ready")
        session.p99_ms()
        samples = bench.interleave(ROUNDS, {"alone": session.p99_ms, "beside jobs": session.p99_ms_beside_jobs})
    return {"engine_background": Measured(ratios(samples["beside jobs"], samples["alone"]), {
        "99th percentile, ms": samples["alone"], f"beside {BACKLOG} jobs, ms": samples["beside jobs"], "jobs done meanwhile": session.jobs_done})}


# ---- texts ----

SENTENCES, LONG_TEXTS = 10_000, 1_000  # of ours in all rounds
LONG_TEXT_WORDS = 300  # some 400 tokens


def sentences(count: int) -> list[str]:
    """Each with words of its own, so that none is the same as another."""
    lines = [line for line in (ROOT / "demo" / "sentences.txt").read_text().splitlines() if line]
    return [f"{secrets.choice(LETTERS)}{secrets.choice(LETTERS)} {random.choice(lines)}" for _ in range(count)]


def long_texts(count: int) -> list[str]:
    return row_texts(count, LONG_TEXT_WORDS)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def compare_texts(bench: Bench) -> dict[str, Measured]:
    measured = {}
    with contextlib.ExitStack() as stack:
        sides = {"steadytextd": stack.enter_context(ours()), "llama-server": stack.enter_context(llama_embedder())}
        if (other := stack.enter_context(fastembed())) is not None:
            sides["fastembed"] = other
        text = long_texts(1)[0]
        if cosine(sides["steadytextd"].embed([text])[0], sides["llama-server"].embed([text])[0]) < 0.999:
            raise RuntimeError("the embedders do not give the same vectors")
        for row, texts, count in (("engine_sentences", sentences, SENTENCES // ROUNDS + 1), ("engine_long_texts", long_texts, LONG_TEXTS // ROUNDS + 1)):
            samples = bench.interleave(ROUNDS, {side: lambda side=side, texts=texts, count=count: sides[side].texts_per_second(texts(count)) for side in sides})
            best = [max(values) for values in zip(*(samples[side] for side in sides if side != "steadytextd"), strict=True)]
            measured[row] = Measured(ratios(samples["steadytextd"], best), {f"{side}, texts/s": samples[side] for side in sides})
    return measured


# ---- the check at start ----

def start_checks(bench: Bench) -> dict[str, Measured]:
    def seconds() -> float:
        shown = Bench.output(ROOT / "build" / "steadytextd", "--threads", THREADS, "--check", model())
        return float(re.search(r"checked in ([0-9.]+) s", shown)[1])

    return {"engine_start_check": Measured(bench.interleave(ROUNDS, {"check at start, s": seconds})["check at start, s"])}


# ---- tokens ----

LONG_PROMPT_WORDS = 360  # some 460 tokens, read in one chunk on both sides


def prompt_tokens_per_second(daemon: Daemon) -> tuple[float, int]:
    """Of so many prompts at once, each answered with one token; and a prompt's tokens."""
    seconds, answers = daemon.generate(CLIENTS, [fresh(text) for text in row_texts(CLIENTS, LONG_PROMPT_WORDS)], 1, return_usage=True)
    tokens = [answer["prompt_tokens"] for answer in answers]
    return sum(tokens) / seconds, round(statistics.mean(tokens))


def batched_prompts(prompt_tokens: int) -> float:
    """llama-batched-bench's tokens of prompts a second."""
    program = pathlib.Path(Bench.output("scripts/build-llama", "--print-dir").strip()) / "bin" / "llama-batched-bench"
    shown = Bench.output(program, "-m", model(), "-c", CLIENTS * CONTEXT, "-npp", prompt_tokens, "-ntg", 1, "-npl", CLIENTS, "-t", THREADS, "-tb", THREADS,
                         "--output-format", "jsonl")
    row = next(json.loads(line) for line in shown.splitlines() if line.startswith("{"))
    return row["pl"] * row["pp"] / row["t_pp"]


def compare_prompts(bench: Bench, daemon: Daemon) -> dict[str, Measured]:
    length = prompt_tokens_per_second(daemon)[1]
    samples = bench.interleave(ROUNDS, {"steadytextd": lambda: prompt_tokens_per_second(daemon)[0], "bench": lambda: batched_prompts(length)})
    return {"engine_prompts": Measured(ratios(samples["steadytextd"], samples["bench"]), {
        f"steadytextd, {CLIENTS} prompts of {length} tokens at once, tokens/s": samples["steadytextd"], "llama-batched-bench, tokens/s": samples["bench"]})}


def measure(bench: Bench) -> dict[str, Measured]:
    parts = os.environ.get("BENCH_ENGINE", "check rows tokens texts classes").split()
    measured: dict[str, Measured] = {}
    for name, part in {"check": start_checks, "rows": compare_rows, "tokens": compare_tokens, "texts": compare_texts, "classes": compare_classes}.items():
        if name in parts:
            measured |= part(bench)
    return measured


def compare_tokens(bench: Bench) -> dict[str, Measured]:
    with steadytextd() as daemon:
        return compare_prompts(bench, daemon) | compare(bench, daemon)


def compare(bench: Bench, daemon: Daemon) -> dict[str, Measured]:
    bench.say("looking for prompts with long answers")
    prompts = long_prompts(daemon, ALONE * ROUNDS + CLIENTS)
    _, usage = daemon.generate(1, [fresh(prompt) for prompt in prompts], 1, return_usage=True)
    prompt_tokens = round(statistics.mean(answer["prompt_tokens"] for answer in usage))
    alone = iter([prompts[i * ALONE:(i + 1) * ALONE] for i in range(ROUNDS)])
    together = prompts[-CLIENTS:]
    samples: dict[str, list[float]] = {name: [] for name in ("steadytextd 1", "bench 1", "steadytextd 16", "bench 16")}
    for number, mine in enumerate(alone, 1):
        samples["steadytextd 1"].append(tokens_per_second(daemon, 1, mine))
        samples["steadytextd 16"].append(tokens_per_second(daemon, CLIENTS, together))
        speeds = batched_bench(prompt_tokens)
        samples["bench 1"].append(speeds[1])
        samples["bench 16"].append(speeds[CLIENTS])
        bench.say(f"round {number}/{ROUNDS}: " + ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.items()))
    gain = {"engine_clients": Measured(ratios(samples["steadytextd 16"], samples["steadytextd 1"]))}
    return gain | {f"engine_bench_{clients}": Measured(
                ratios(samples[f"steadytextd {clients}"], samples[f"bench {clients}"]),
                {f"steadytextd, {clients} at once, tokens/s": samples[f"steadytextd {clients}"],
                 "llama-batched-bench, tokens/s": samples[f"bench {clients}"]})
            for clients in (1, CLIENTS)}


TOPIC = Topic(
    f"steadytextd against what else serves its models, {THREADS} thread(s)",
    [Row("engine_bench_1", "steadytextd tokens/s / llama-batched-bench, batch 1", 0.95, "higher"),
     Row("engine_bench_16", "steadytextd tokens/s / llama-batched-bench, batch 16", 0.95, "higher"),
     Row("engine_prompts", "tokens/s of prompts, 16 at once / llama-batched-bench", 0.95, "higher"),
     Row("engine_clients", "tokens/s of 16 clients / of one", 2, "higher"),
     Row("engine_sentences", "sentences embedded/s / the best other's", 1, "higher"),
     Row("engine_long_texts", "texts of 400 tokens embedded/s / the best other's", 1, "higher"),
     Row("engine_start_check", "seconds of the check at start", 3, "lower"),
     Row("engine_background", "a session's p99 beside 10,000 jobs of the queue / without", 1.5, "lower"),
     Row("engine_prefix_kept", "rows/s of steadytext_classify, prefixes kept / not", 2.5, "higher"),
     Row("engine_prefix_llama_server", "rows/s of steadytext_classify / llama-server's", 1.2, "higher")],
    measure)
