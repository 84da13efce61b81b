"""Who embeds texts with the demo's embedding model besides steadytextd: llama.cpp's own server, and fastembed if it is installed."""
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time
from typing import Iterator

from daemons import THREADS, Daemon, LlamaServer, free_port, running
from harness import ROOT, Bench

CLIENTS = 16
AT_ONCE = 16  # texts of a message, on both sides


def embedding_model() -> pathlib.Path:
    return pathlib.Path(Bench.output("scripts/models", "--print-dir").strip()) / "all-minilm-l6-v2.gguf"


class Embedder:
    """Asked by so many clients that it always has a text."""

    def texts_per_second(self, texts: list[str]) -> float:
        start = time.monotonic()
        self.embed(texts)
        return len(texts) / (time.monotonic() - start)

    def embed(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError


def in_messages(texts: list[str]) -> list[list[str]]:
    return [texts[i:i + AT_ONCE] for i in range(0, len(texts), AT_ONCE)]


class Ours(Embedder):
    def __init__(self, daemon: Daemon):
        self.daemon = daemon

    def texts_per_second(self, texts: list[str]) -> float:
        seconds, _ = self.daemon.embed_batch(CLIENTS, in_messages(texts))
        return len(texts) / seconds

    def embed(self, texts: list[str]) -> list[list[float]]:
        _, answers = self.daemon.embed_batch(CLIENTS, in_messages(texts))
        return [vector for answer in answers for vector in answer["embeddings"]]


class LlamaServersEmbedder(Embedder):
    def __init__(self, server: LlamaServer):
        self.server = server

    def message(self, texts: list[str]) -> list[list[float]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=600)
        connection.request("POST", "/v1/embeddings", json.dumps({"input": texts}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"llama-server: {body[:200]!r}")
        return [row["embedding"] for row in sorted(json.loads(body)["data"], key=lambda row: row["index"])]

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [vector for vectors in self.server.clients.map(self.message, in_messages(texts)) for vector in vectors]


@contextlib.contextmanager
def ours() -> Iterator[Ours]:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/steadytextd"
        with running([ROOT / "build" / "steadytextd", "--endpoint", endpoint, "--exit-on-stdin-eof", "--threads", THREADS,
                      "--embedding-model", embedding_model()], endpoint, lambda: os.path.exists(f"{folder}/steadytextd")) as daemon:
            yield Ours(daemon)


@contextlib.contextmanager
def llama_embedder() -> Iterator[LlamaServersEmbedder]:
    program = pathlib.Path(Bench.output("scripts/build-llama", "--server", "--print-dir").strip()) / "bin" / "llama-server"
    server = LlamaServer(free_port(), CLIENTS)
    with running([program, "--host", "127.0.0.1", "--port", server.port, "--model", embedding_model(), "--embedding", "--threads", THREADS,
                  "--threads-batch", THREADS, "--parallel", CLIENTS, "--ctx-size", CLIENTS * 512, "--batch-size", 2048, "--ubatch-size", 2048,
                  "--offline"], f"http://127.0.0.1:{server.port}", lambda: server.get("/health") == 200):
        yield LlamaServersEmbedder(server)


class Fastembed(Embedder):
    """A program of its own, as its threads are chosen when it starts: reads lists of texts, writes the seconds it took."""

    PROGRAM = """
import json, sys, time
from fastembed import TextEmbedding
model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", specific_model_path=sys.argv[1], threads=int(sys.argv[2]), providers=["CPUExecutionProvider"])
for line in sys.stdin:
    texts = json.loads(line)
    start = time.monotonic()
    vectors = [vector.tolist() for vector in model.embed(texts, batch_size=32)]
    print(json.dumps([time.monotonic() - start, vectors[:1]]), flush=True)
"""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def ask(self, texts: list[str]) -> list:
        self.process.stdin.write(json.dumps(texts) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("fastembed has ended")
        return json.loads(line)

    def texts_per_second(self, texts: list[str]) -> float:
        return len(texts) / self.ask(texts)[0]


@contextlib.contextmanager
def fastembed() -> Iterator[Fastembed | None]:
    """BENCH_FASTEMBED: a Python that has fastembed, and the directory of its model (model.onnx and tokenizer files), with a colon between."""
    python, _, model = os.environ.get("BENCH_FASTEMBED", "").partition(":")
    if not python:
        yield None
        return
    process = subprocess.Popen([python, "-c", Fastembed.PROGRAM, model, str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Fastembed(process)
    finally:
        process.stdin.close()
        process.wait()
