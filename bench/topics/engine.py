"""How much of llama.cpp's own speed steadytextd gives its clients, and how it compares with the original Python daemon.

Tokens generated per second over the time from the first request to the last answer, reading the prompts included, on all
sides. One thread count for all. Prompts are picked whose greedy answers are long enough, so that every request is worth the
same number of tokens; the Python daemon's answers are counted by steadytextd's tokenizer, as it does not tell.
"""
import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import tempfile
import time
from typing import Iterator

from harness import BUILD, ROOT, Bench, Measured, Row, Topic, ratios

ROUNDS = 7
NEW_TOKENS = 64
CLIENTS = 16
ALONE = 4  # requests of a sample with one client
WORDS = 24
THREADS = max(1, (os.cpu_count() or 2) - 1)  # steadytextd's default: one processor is the server's


class Daemon:
    """A daemon that answers generate requests at an endpoint."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint

    def generate(self, clients: int, prompts: list[str], tokens: int = NEW_TOKENS, **more: object) -> tuple[float, list]:
        """The seconds it took, and the results."""
        params = "\n".join(json.dumps({"prompt": prompt, "max_new_tokens": tokens, "seed": 42, **more}) for prompt in prompts)
        lines = Bench.output(BUILD / "generate_load", self.endpoint, clients, input=params + "\n").splitlines()
        return float(lines[0]), [json.loads(line) for line in lines[1:]]


@contextlib.contextmanager
def running(command: list[object], endpoint: str, is_ready) -> Iterator[Daemon]:
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT)
        try:
            deadline = time.monotonic() + 900  # the Python daemon may have to be installed first
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {log.read()[-500:]}")
                time.sleep(0.1)
            yield Daemon(endpoint)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def model() -> pathlib.Path:
    return pathlib.Path(Bench.output("scripts/models", "--print-dir").strip()) / "smollm2-135m-instruct-q4_1.gguf"


def prompts_from() -> Iterator[str]:
    words = (ROOT / "demo" / "sentences.txt").read_text().split()
    chance = random.Random(16)
    while True:
        at = chance.randrange(len(words) - WORDS)
        yield "Tell a long story: " + " ".join(words[at:at + WORDS])


def long_prompts(daemons: list[Daemon], count: int) -> list[str]:
    """Prompts that every daemon answers with all the tokens it may."""
    steadytextd, python = daemons
    source = prompts_from()
    found: list[str] = []
    while len(found) < count:
        candidates = [next(source) for _ in range(CLIENTS)]
        _, mine = steadytextd.generate(CLIENTS, candidates, return_usage=True)
        candidates = [p for p, answer in zip(candidates, mine) if answer["completion_tokens"] == NEW_TOKENS]
        _, theirs = python.generate(1, candidates)
        found += [p for p, text in zip(candidates, theirs) if tokens_in(steadytextd, text) >= NEW_TOKENS - 2]
    return found[:count]


def tokens_in(steadytextd: Daemon, text: str) -> int:
    _, (full, empty) = steadytextd.generate(1, [text, "."], tokens=1, return_usage=True)
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
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/steadytextd"
        with running([ROOT / "build" / "steadytextd", "--endpoint", endpoint, "--exit-on-stdin-eof", "--threads", THREADS,
                      "--model", model()], endpoint, lambda: os.path.exists(f"{folder}/steadytextd")) as steadytextd, \
             running(["scripts/python-daemon", "run", "--port", port], f"tcp://127.0.0.1:{port}",
                     lambda: listens(port)) as python:
            return compare(bench, steadytextd, python)


def compare(bench: Bench, steadytextd: Daemon, python: Daemon) -> dict[str, Measured]:
    bench.say("looking for prompts with long answers")
    prompts = long_prompts([steadytextd, python], ALONE * ROUNDS + CLIENTS)
    _, usage = steadytextd.generate(1, prompts[:1], return_usage=True)
    alone = iter([prompts[i * ALONE:(i + 1) * ALONE] for i in range(ROUNDS)])
    together = prompts[-CLIENTS:]
    samples: dict[str, list[float]] = {name: [] for name in
                                       ("steadytextd 1", "bench 1", "python 1", "steadytextd 16", "bench 16", "python 16")}
    for number, mine in enumerate(alone, 1):
        for name, daemon in (("steadytextd", steadytextd), ("python", python)):
            samples[f"{name} 1"].append(len(mine) * NEW_TOKENS / daemon.generate(1, mine)[0])
            # A word more than last time: no daemon may answer from a cache of its own.
            fresh = [f"{prompt} ({number})" for prompt in together]
            samples[f"{name} 16"].append(len(fresh) * NEW_TOKENS / daemon.generate(CLIENTS, fresh)[0])
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
