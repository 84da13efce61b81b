"""Daemons that topics run by themselves and ask over their sockets, without a server between."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
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

    def ask(self, clients: int, requests: list[dict], method: str = "generate") -> tuple[float, list]:
        """The seconds it took so many clients to have all requests answered, and the results."""
        params = "".join(json.dumps({"seed": 42, **request}) + "\n" for request in requests)
        lines = Bench.output(BUILD / "generate_load", self.endpoint, clients, method, input=params).splitlines()
        return float(lines[0]), [json.loads(line) for line in lines[1:]]

    def generate(self, clients: int, prompts: list[str], tokens: int, **more: object) -> tuple[float, list]:
        return self.ask(clients, [{"prompt": prompt, "max_new_tokens": tokens, **more} for prompt in prompts])

    def embed_batch(self, clients: int, messages: list[list[str]]) -> tuple[float, list]:
        return self.ask(clients, [{"texts": texts} for texts in messages], "embed_batch")


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def steadytextd_for_sql(*options: object) -> Iterator[Daemon]:
    """The same for a server, which may run as another user."""
    port = free_port()
    endpoint = f"tcp://127.0.0.1:{port}"
    with running([ROOT / "build" / "steadytextd", "--endpoint", endpoint, "--exit-on-stdin-eof", "--threads", THREADS, "--model", model(),
                  *options], endpoint, lambda: is_listening(port)) as daemon:
        yield daemon


class LlamaServer:
    """llama.cpp's own server, asked by so many clients that each of its slots always has a request."""

    def __init__(self, port: int, slots: int):
        self.port = port
        self.clients = concurrent.futures.ThreadPoolExecutor(slots)

    def get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def chat(self, prompt: str, **more: object) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        body = json.dumps({"messages": [{"role": "user", "content": prompt}], "temperature": 0, "cache_prompt": True, **more})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"llama-server: {text[:200]!r}")
        return json.loads(text)

    def seconds(self, prompts: list[str], **more: object) -> tuple[float, list[dict]]:
        start = time.monotonic()
        answers = list(self.clients.map(lambda prompt: self.chat(prompt, **more), prompts))
        return time.monotonic() - start, answers


@contextlib.contextmanager
def llama_server(slots: int, context: int) -> Iterator[LlamaServer]:
    """With the demo's model; `context` tokens for each slot."""
    program = pathlib.Path(Bench.output("scripts/build-llama", "--server", "--print-dir").strip()) / "bin" / "llama-server"
    server = LlamaServer(free_port(), slots)
    with running([program, "--host", "127.0.0.1", "--port", server.port, "--model", model(), "--threads", THREADS, "--threads-batch", THREADS,
                  "--parallel", slots, "--ctx-size", slots * context, "--offline"], f"http://127.0.0.1:{server.port}",
                 lambda: server.get("/health") == 200):
        yield server


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
