"""How much of llama.cpp's own speed steadytextd gives its clients, and how it compares with the original Python daemon.

Tokens generated per second over the time from the first request to the last answer, reading the prompts included, on all
sides. One thread count for all. Prompts are picked whose greedy answers are long enough, so that every request is worth the
same number of tokens; the Python daemon's answers are counted by steadytextd's tokenizer, as it does not tell.
"""
import json
import pathlib
import socket

from daemons import THREADS, Daemon, model, prompts_from, running, steadytextd
from harness import Bench, Measured, Row, Topic, ratios

ROUNDS = 7
NEW_TOKENS = 64
CLIENTS = 16
ALONE = 4  # requests of a sample with one client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def long_prompts(daemons: list[Daemon], count: int) -> list[str]:
    """Prompts that every daemon answers with all the tokens it may."""
    ours, python = daemons
    source = prompts_from()
    found: list[str] = []
    while len(found) < count:
        candidates = [next(source) for _ in range(CLIENTS)]
        _, mine = ours.generate(CLIENTS, candidates, NEW_TOKENS, return_usage=True)
        candidates = [p for p, answer in zip(candidates, mine) if answer["completion_tokens"] == NEW_TOKENS]
        _, theirs = python.generate(1, candidates, NEW_TOKENS)
        found += [p for p, text in zip(candidates, theirs) if tokens_in(ours, text) >= NEW_TOKENS - 2]
    return found[:count]


def tokens_in(ours: Daemon, text: str) -> int:
    _, (full, empty) = ours.generate(1, [text, "."], 1, return_usage=True)
    return full["prompt_tokens"] - empty["prompt_tokens"] + 1


def batched_bench(prompt_tokens: int) -> dict[int, float]:
    """llama-batched-bench's own tokens per second, by batch size."""
    program = pathlib.Path(Bench.output("scripts/build-llama", "--print-dir").strip()) / "bin" / "llama-batched-bench"
    shown = Bench.output(program, "-m", model(), "-c", CLIENTS * (prompt_tokens + NEW_TOKENS) + 64, "-npp", prompt_tokens,
                         "-ntg", NEW_TOKENS, "-npl", f"1,{CLIENTS}", "-t", THREADS, "-tb", THREADS,
                         "--output-format", "jsonl")
    rows = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    return {row["pl"]: row["pl"] * NEW_TOKENS / (row["t_pp"] + row["t_tg"]) for row in rows}


def measure(bench: Bench) -> dict[str, Measured]:
    port = free_port()
    with steadytextd() as ours, \
         running(["scripts/python-daemon", "run", "--port", port], f"tcp://127.0.0.1:{port}", lambda: listens(port)) as python:
        return compare(bench, ours, python)


def compare(bench: Bench, ours: Daemon, python: Daemon) -> dict[str, Measured]:
    bench.say("looking for prompts with long answers")
    prompts = long_prompts([ours, python], ALONE * ROUNDS + CLIENTS)
    _, usage = ours.generate(1, prompts[:1], NEW_TOKENS, return_usage=True)
    alone = iter([prompts[i * ALONE:(i + 1) * ALONE] for i in range(ROUNDS)])
    together = prompts[-CLIENTS:]
    samples: dict[str, list[float]] = {name: [] for name in
                                       ("steadytextd 1", "bench 1", "python 1", "steadytextd 16", "bench 16", "python 16")}
    for number, mine in enumerate(alone, 1):
        for name, daemon in (("steadytextd", ours), ("python", python)):
            samples[f"{name} 1"].append(len(mine) * NEW_TOKENS / daemon.generate(1, mine, NEW_TOKENS)[0])
            # A word more than last time: no daemon may answer from a cache of its own.
            fresh = [f"{prompt} ({number})" for prompt in together]
            samples[f"{name} 16"].append(len(fresh) * NEW_TOKENS / daemon.generate(CLIENTS, fresh, NEW_TOKENS)[0])
        speeds = batched_bench(usage[0]["prompt_tokens"])
        samples["bench 1"].append(speeds[1])
        samples["bench 16"].append(speeds[CLIENTS])
        bench.say(f"round {number}/{ROUNDS}: " + ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.items()))
    return {f"engine_{against}_{clients}": Measured(
                ratios(samples[f"steadytextd {clients}"], samples[f"{against} {clients}"]),
                {f"steadytextd, {clients} at once, tokens/s": samples[f"steadytextd {clients}"],
                 f"{'llama-batched-bench' if against == 'bench' else 'Python daemon'}, tokens/s": samples[f"{against} {clients}"]})
            for against in ("bench", "python") for clients in (1, CLIENTS)}


TOPIC = Topic(
    f"steadytextd's tokens per second against llama-batched-bench and the Python daemon, {THREADS} thread(s)",
    [Row("engine_bench_1", "steadytextd tokens/s / llama-batched-bench, batch 1", 0.95, "higher"),
     Row("engine_bench_16", "steadytextd tokens/s / llama-batched-bench, batch 16", 0.95, "higher"),
     Row("engine_python_1", "steadytextd tokens/s / Python daemon, 1 client", 2.5, "higher"),
     Row("engine_python_16", "steadytextd tokens/s / Python daemon, 16 clients", 4.5, "higher")],
    measure)
