"""How much of llama.cpp's own speed steadytextd gives its clients.

Tokens generated per second over the time from the first request to the last answer, reading the prompts included, on both
sides. One thread count for both. Prompts are picked whose greedy answers are long.
"""
import json
import pathlib
import secrets
import statistics
import string

from daemons import THREADS, Daemon, model, prompts_from, steadytextd
from harness import Bench, Measured, Row, Topic, ratios

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


def measure(bench: Bench) -> dict[str, Measured]:
    with steadytextd() as ours:
        return compare(bench, ours)


def compare(bench: Bench, ours: Daemon) -> dict[str, Measured]:
    bench.say("looking for prompts with long answers")
    prompts = long_prompts(ours, ALONE * ROUNDS + CLIENTS)
    _, usage = ours.generate(1, [fresh(prompt) for prompt in prompts], 1, return_usage=True)
    prompt_tokens = round(statistics.mean(answer["prompt_tokens"] for answer in usage))
    alone = iter([prompts[i * ALONE:(i + 1) * ALONE] for i in range(ROUNDS)])
    together = prompts[-CLIENTS:]
    samples: dict[str, list[float]] = {name: [] for name in ("steadytextd 1", "bench 1", "steadytextd 16", "bench 16")}
    for number, mine in enumerate(alone, 1):
        samples["steadytextd 1"].append(tokens_per_second(ours, 1, mine))
        samples["steadytextd 16"].append(tokens_per_second(ours, CLIENTS, together))
        speeds = batched_bench(prompt_tokens)
        samples["bench 1"].append(speeds[1])
        samples["bench 16"].append(speeds[CLIENTS])
        bench.say(f"round {number}/{ROUNDS}: " + ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.items()))
    return {f"engine_bench_{clients}": Measured(
                ratios(samples[f"steadytextd {clients}"], samples[f"bench {clients}"]),
                {f"steadytextd, {clients} at once, tokens/s": samples[f"steadytextd {clients}"],
                 "llama-batched-bench, tokens/s": samples[f"bench {clients}"]})
            for clients in (1, CLIENTS)}


TOPIC = Topic(
    f"steadytextd's tokens per second against llama-batched-bench, {THREADS} thread(s)",
    [Row("engine_bench_1", "steadytextd tokens/s / llama-batched-bench, batch 1", 0.95, "higher"),
     Row("engine_bench_16", "steadytextd tokens/s / llama-batched-bench, batch 16", 0.95, "higher")],
    measure)
