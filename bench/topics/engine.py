"""How much of llama.cpp's own speed steadytextd gives its clients, and how it compares with the original Python daemon.

Tokens generated per second over the time from the first request to the last answer, reading the prompts included, on all
sides. One thread count for all. Prompts are picked whose greedy answers are long; steadytextd's tokenizer counts those of both
daemons, as the Python daemon does not tell.
"""
import json
import pathlib
import secrets
import socket
import statistics
import string

from daemons import THREADS, Daemon, model, prompts_from, running, steadytextd
from harness import Bench, Measured, Row, Topic, ratios

ROUNDS = 7
NEW_TOKENS = 64
CONTEXT = 2048  # of each slot: steadytextd's default
CLIENTS = 16
LETTERS = string.ascii_uppercase  # a token each, after a space
ALONE = 4  # requests of a sample with one client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def long_prompts(daemon: Daemon, count: int) -> list[str]:
    """Prompts that are answered with all the tokens they may be."""
    source = prompts_from()
    found: list[str] = []
    while len(found) < count:
        candidates = [next(source) for _ in range(CLIENTS)]
        _, answers = daemon.generate(CLIENTS, candidates, NEW_TOKENS, return_usage=True)
        found += [p for p, answer in zip(candidates, answers) if answer["completion_tokens"] == NEW_TOKENS]
    return found[:count]


def tokens_in(counter: Daemon, text: str) -> int:
    _, (full, empty) = counter.generate(1, [text, "."], 1, return_usage=True)
    return full["prompt_tokens"] - empty["prompt_tokens"] + 1


def fresh(prompt: str) -> str:
    """Ends as no prompt of an earlier run: no daemon may answer from a cache of its own, and the Python daemon's outlives it."""
    return f"{prompt} {' '.join(secrets.choice(LETTERS) for _ in range(5))}"


def tokens_per_second(daemon: Daemon, clients: int, prompts: list[str], counter: Daemon) -> float:
    seconds, answers = daemon.generate(clients, [fresh(prompt) for prompt in prompts], NEW_TOKENS)
    return sum(tokens_in(counter, text) for text in answers) / seconds


def batched_bench(prompt_tokens: int) -> dict[int, float]:
    """llama-batched-bench's own tokens per second, by batch size."""
    program = pathlib.Path(Bench.output("scripts/build-llama", "--print-dir").strip()) / "bin" / "llama-batched-bench"
    shown = Bench.output(program, "-m", model(), "-c", CLIENTS * CONTEXT, "-npp", prompt_tokens,
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
    prompts = long_prompts(ours, ALONE * ROUNDS + CLIENTS)
    _, usage = ours.generate(1, [fresh(prompt) for prompt in prompts], 1, return_usage=True)
    prompt_tokens = round(statistics.mean(answer["prompt_tokens"] for answer in usage))
    alone = iter([prompts[i * ALONE:(i + 1) * ALONE] for i in range(ROUNDS)])
    together = prompts[-CLIENTS:]
    samples: dict[str, list[float]] = {name: [] for name in
                                       ("steadytextd 1", "bench 1", "python 1", "steadytextd 16", "bench 16", "python 16")}
    for number, mine in enumerate(alone, 1):
        for name, daemon in (("steadytextd", ours), ("python", python)):
            samples[f"{name} 1"].append(tokens_per_second(daemon, 1, mine, ours))
            samples[f"{name} 16"].append(tokens_per_second(daemon, CLIENTS, together, ours))
        speeds = batched_bench(prompt_tokens)
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
