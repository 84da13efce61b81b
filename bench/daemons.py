"""Daemons that topics run by themselves and ask over their sockets, without a server between."""
import contextlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time
from typing import Iterator

from harness import BUILD, ROOT, Bench

THREADS = max(1, (os.cpu_count() or 2) - 1)  # steadytextd's default: one processor is the server's
WORDS = 24


class Daemon:
    """A daemon that answers generate requests at an endpoint."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint

    def ask(self, clients: int, requests: list[dict]) -> tuple[float, list]:
        """The seconds it took so many clients to have all requests answered, and the results."""
        params = "".join(json.dumps({"seed": 42, **request}) + "\n" for request in requests)
        lines = Bench.output(BUILD / "generate_load", self.endpoint, clients, input=params).splitlines()
        return float(lines[0]), [json.loads(line) for line in lines[1:]]

    def generate(self, clients: int, prompts: list[str], tokens: int, **more: object) -> tuple[float, list]:
        return self.ask(clients, [{"prompt": prompt, "max_new_tokens": tokens, **more} for prompt in prompts])


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


def model() -> pathlib.Path:
    return pathlib.Path(Bench.output("scripts/models", "--print-dir").strip()) / "smollm2-135m-instruct-q4_1.gguf"


@contextlib.contextmanager
def steadytextd() -> Iterator[Daemon]:
    """With the demo's model."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/steadytextd"
        with running([ROOT / "build" / "steadytextd", "--endpoint", endpoint, "--exit-on-stdin-eof", "--threads", THREADS,
                      "--model", model()], endpoint, lambda: os.path.exists(f"{folder}/steadytextd")) as daemon:
            yield daemon


def prompts_from() -> Iterator[str]:
    words = (ROOT / "demo" / "sentences.txt").read_text().split()
    chance = random.Random(16)
    while True:
        at = chance.randrange(len(words) - WORDS)
        yield "Tell a long story: " + " ".join(words[at:at + WORDS])
