#!/usr/bin/env python3
"""An engine that speaks HTTP as vLLM does, for tests: it answers with the prompt itself, and misbehaves on request.

    openai_server.py [--model NAME]... [--key KEY] [--certificate PEM] [--dimensions N] [--window BYTES]

The first line of output is the port. Shapes of requests and answers are those recorded of vLLM 0.11's OpenAI-compatible server.
A prompt that begins with "!http:WHAT " is answered badly: status=N, garbage, html, huge, endless, half, hang, slow=MS, redirect, quote=N (status N, with the
query and the headers it was asked with).

With "stream": true each word of the prompt is a token. "!stream:WHAT,... " before it says how it comes: delay=MS before each token;
after=N tokens one of hang (until the client goes), break, error, garbage, unfinished (a proper end without [DONE]); flood=N tokens of a
thousand letters as fast as they are taken; odd (comments, CRLF, data of several lines); no-done. All but flood give the prompt itself.

A prompt, or a text to embed, "!raw:{...}" says itself what the engine answers, as does what is posted to /next:
    {"status": 500, "headers": {"Retry-After": "1"}, "body": {...} or "text", "stream": ["data: {}\\n\\n", ...], "encoding": "gzip", "deflate", "br", "zstd",
     "bomb": megabytes of blanks instead of a body, "late": milliseconds between the head and the body, "hangup": 1 closes the connection without a word}

Texts to embed come back last one first, each with its index; one that begins with "!bad" has the whole message refused.

    GET  /stats     how often each path was asked for, and each model by it, how many texts were embedded and how many of them by one message at most (most_texts),
                    how many connections were made, streams under way (streaming), given up by their client (cut_off) and when by the
                    monotonic clock (cut_off_us), and how often one had to wait to be read (held_up); how many prompts were beyond the window
                    (beyond), the longest that was answered (longest), and how many were worked on at once at most (at_once)
    GET  /last      the last body that was posted, and its headers
    POST /busy N    the next N requests are answered with 429 and Retry-After: 1
    POST /next      {"path": "/v1/models", "times": N, and a reply as above}: the next N requests of this path are answered so, with "model"
                    those for this model alone, with "hang" a number of milliseconds later; {"clear": 1}: no longer
"""
import argparse
import collections
import ctypes
import gzip
import hashlib
import json
import re
import select
import ssl
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

options = argparse.ArgumentParser()
options.add_argument("--model", action="append", default=[])
options.add_argument("--key")
options.add_argument("--certificate", help="certificate and key, PEM")
options.add_argument("--no-embeddings", action="store_true", help="as llama-server without --embeddings")
options.add_argument("--o1", action="store_true", help="refuses what OpenAI's o1 does: max_tokens, and a temperature")
options.add_argument("--query", default="", help="what must stand behind the question mark, as Azure's api-version=...")
options.add_argument("--dimensions", type=int, default=8)
options.add_argument("--slots", type=int, default=1000, help="prompts that are worked on at once; what \"!raw:\" answers needs none, like a filter's answer")
options.add_argument("--most-texts", type=int, default=2048, help="that one message may have embedded")
options.add_argument("--embed-ms", type=int, default=0, help="what a message to embed takes, whatever is in it")
options.add_argument("--window", type=int, help="refuses longer prompts, as beyond the model's context length")
options.add_argument("--answer-ms", type=int, default=0, help="what a whole answer to a prompt takes, whatever it is")
options = options.parse_args()
options.model = options.model or ["test/echo"]

lock = threading.Lock()
slots = threading.Semaphore(options.slots)
counts = collections.Counter()
last = {}
busy = 0
to_come = []  # of /next


def vector(text):
    digest = hashlib.sha512(text.encode()).digest()
    return [byte / 127.5 - 1 for byte in digest[: options.dimensions]]


# By the libraries that libcurl unpacks with.
def brotli(data):
    size = ctypes.c_size_t(len(data) + 1024)
    packed = ctypes.create_string_buffer(size.value)
    if not ctypes.CDLL("libbrotlienc.so.1").BrotliEncoderCompress(1, 22, 0, ctypes.c_size_t(len(data)), data, ctypes.byref(size), packed):
        raise ValueError("brotli failed")
    return packed.raw[: size.value]


def zstd(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    packed = ctypes.create_string_buffer(library.ZSTD_compressBound(ctypes.c_size_t(len(data))))
    size = library.ZSTD_compress(packed, ctypes.c_size_t(len(packed)), data, ctypes.c_size_t(len(data)), 3)
    if size > len(packed):
        raise ValueError("zstd failed")
    return packed.raw[:size]


PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli, "zstd": zstd}


def error(message, kind, code):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for the first's acknowledgement

    def setup(self):
        super().setup()
        with lock:
            counts["connections"] += 1

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuses_key(self):
        given = self.headers.get("Authorization")
        if options.key is None or given == f"Bearer {options.key}":
            return False
        # As OpenAI's own service does, quoting what it was given.
        self.answer(error(f"Incorrect API key provided: {given}", "invalid_request_error", "invalid_api_key"), 401)
        return True

    # The path without its query, which must be the one that is asked for.
    def lacks_query(self):
        self.path, _, query = self.path.partition("?")
        self.query = query
        if query == options.query or self.path in ("/stats", "/last", "/next"):
            return False
        self.answer(error(f"Resource not found: {query}", "NotFound", 404), 404)
        return True

    def do_GET(self):
        if self.lacks_query():
            return None
        if self.path == "/stats":
            return self.answer(dict(counts))
        if self.path == "/last":
            return self.answer(last)
        with lock:
            counts[self.path] += 1
        if self.refuses_key() or self.answers_as_told():
            return None
        if self.path != "/v1/models":
            return self.answer({"detail": "Not Found"}, 404)
        return self.answer({"object": "list", "data": [
            {"id": name, "object": "model", "created": 1764000000, "owned_by": "vllm", "root": name, "parent": None, "max_model_len": 4096}
            for name in options.model]})

    def do_POST(self):
        global busy, last
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.lacks_query():
            return None
        if self.path.startswith("/busy/"):
            busy = int(self.path.rsplit("/", 1)[1])
            return self.answer({})
        if self.path == "/next":
            told = json.loads(body)
            with lock:
                if told.get("clear"):
                    to_come.clear()
                else:
                    to_come.append(told)
            return self.answer({})
        with lock:
            counts[self.path] += 1
            asked = json.loads(body)
            counts[f"{self.path} {asked.get('model')}"] += 1
            last = {"body": asked, "headers": dict(self.headers)}
            is_busy = busy > 0
            busy -= is_busy
        if self.refuses_key() or self.answers_as_told(asked.get("model")):
            return None
        if is_busy:
            return self.answer(error("Rate limit reached", "rate_limit_error", 429), 429, [("Retry-After", "1")])
        if asked["model"] not in options.model:
            return self.answer(error(f"The model `{asked['model']}` does not exist.", "NotFoundError", 404), 404)
        if self.path == "/v1/embeddings" and options.no_embeddings:
            return self.answer(error("This server does not support embeddings.", "not_supported_error", 501), 501)
        if self.path == "/v1/embeddings":
            return self.embed(asked)
        if self.path == "/v1/chat/completions":
            return self.generate(asked, asked["messages"][-1]["content"], "chat.completion",
                                 lambda text: {"message": {"role": "assistant", "content": text, "refusal": None, "tool_calls": []}})
        if self.path == "/v1/completions":
            return self.generate(asked, asked["prompt"], "text_completion", lambda text: {"text": text})
        return self.answer({"detail": "Not Found"}, 404)

    def answers_as_told(self, model=None):
        with lock:
            told = next((reply for reply in to_come if reply["path"] == self.path and reply.get("model") in (None, model)), None)
            if told is not None:
                told["times"] -= 1
                if told["times"] == 0:
                    to_come.remove(told)
        return told is not None and self.answer_raw(told)

    def answer_raw(self, told):
        time.sleep(told.get("hang", 0) / 1000)
        if "hangup" in told:
            self.close_connection = True
            return True
        if "stream" in told:
            return self.stream_raw(told)
        body = told.get("body", "")
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if "bomb" in told:
            data = b" " * (told["bomb"] << 20)
        self.send_response(told.get("status", 200))
        self.send_header("Content-Type", told.get("type", "text/plain" if isinstance(body, str) else "application/json"))
        for name, value in told.get("headers", {}).items():
            self.send_header(name, value)
        if encoding := told.get("encoding"):
            self.send_header("Content-Encoding", encoding)
            data = PACKERS[encoding](data)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if "late" in told:
            self.wfile.flush()
            time.sleep(told["late"] / 1000)
        self.wfile.write(data)
        return True

    # Each item is one write; "cut" at the end leaves the body without its last chunk.
    def stream_raw(self, told):
        self.send_response(told.get("status", 200))
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        items = [item.encode() for item in told["stream"]]
        if encoding := told.get("encoding"):
            self.send_header("Content-Encoding", encoding)
            items = [PACKERS[encoding](b"".join(items))]
        self.end_headers()
        for data in items:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if told.get("cut"):
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
        return True

    def embed(self, asked):
        texts = asked["input"]
        with lock:
            counts["texts"] += len(texts)
            counts["most_texts"] = max(counts["most_texts"], len(texts))
        if len(texts) > options.most_texts:
            return self.answer({"error": f"batch size {len(texts)} > maximum allowed batch size {options.most_texts}", "error_type": "Validation"}, 422)
        time.sleep(options.embed_ms / 1000)
        if any(text.startswith("!bad") for text in texts):
            return self.answer(error("a text is bad", "BadRequestError", 400), 400)
        for text in texts:
            if text.startswith("!raw:"):
                return self.answer_raw(json.loads(text[len("!raw:"):]))
        self.answer({"id": "embd-1", "object": "list", "created": 1764000000, "model": asked["model"],
                     "data": [{"index": i, "object": "embedding", "embedding": vector(text)} for i, text in enumerate(texts)][::-1],
                     "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts), "completion_tokens": 0}})

    def refuses_parameter(self, asked):
        for name, better in (("max_tokens", "Use 'max_completion_tokens' instead."), ("temperature", "Only the default (1) value is supported.")):
            if options.o1 and name in asked:
                refusal = error(f"Unsupported parameter: '{name}' is not supported with this model. {better}", "invalid_request_error", "unsupported_parameter")
                refusal["error"]["param"] = name
                self.answer(refusal, 400)
                return True
        return False

    def generate(self, asked, prompt, kind, choice):
        if self.refuses_parameter(asked):
            return None
        if prompt.startswith("!raw:"):
            return self.answer_raw(json.loads(prompt[len("!raw:"):]))
        with slots:
            return self.work_on(asked, prompt, kind, choice)

    def work_on(self, asked, prompt, kind, choice):
        size = len(prompt.encode())
        if options.window is not None and size > options.window:
            with lock:
                counts["beyond"] += 1
            self.answer(error(f"This model's maximum context length is {options.window} tokens. However, your messages resulted in {size} tokens.",
                              "BadRequestError", 400), 400)
            return
        with lock:
            counts["longest"] = max(counts["longest"], size)
            counts["working"] += 1
            counts["at_once"] = max(counts["at_once"], counts["working"])
        try:
            self.work(asked, prompt, kind, choice)
        finally:
            with lock:
                counts["working"] -= 1

    def work(self, asked, prompt, kind, choice):
        if prompt.startswith("!http:"):
            fault, _, prompt = prompt[len("!http:"):].partition(" ")
            if self.misbehave(*fault.partition("=")[::2]):
                return
        if asked.get("stream"):
            return Stream(self, asked, kind).run(prompt)
        time.sleep(options.answer_ms / 1000)
        tokens = prompt.split()
        self.answer({"id": "chatcmpl-1", "object": kind, "created": 1764000000, "model": asked["model"],
                     "choices": [{"index": 0, **choice(prompt), "logprobs": None, "finish_reason": "stop", "stop_reason": None}],
                     "usage": {"prompt_tokens": len(tokens), "total_tokens": 2 * len(tokens), "completion_tokens": len(tokens)},
                     "prompt_logprobs": None})

    # True if nothing more is to be said.
    def misbehave(self, fault, value):
        if fault == "slow":
            time.sleep(int(value) / 1000)
            return False
        self.close_connection = True
        if fault == "status":
            self.answer(error("as asked for", "Error", int(value)), int(value))
        elif fault == "quote":
            given = ", ".join(f"{name}: {text}" for name, text in self.headers.items())
            self.answer(error(f"asked with ?{self.query} and {given}", "Error", int(value)), int(value))
        elif fault == "redirect":
            self.answer(b"", 307, [("Location", f"http://127.0.0.1:{self.server.server_port}/v1/stolen")])
        elif fault == "garbage":
            self.answer(b'{"choices": [{"message": \xff')
        elif fault == "html":
            self.answer(b"<html>It works!</html>")
        elif fault == "half":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
        elif fault in ("huge", "endless"):
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for _ in range(64 if fault == "huge" else 1_000_000):
                    self.wfile.write(b" " * (1 << 20))
            except OSError:
                counts["cut off"] += 1
        elif fault == "hang":
            # Until the client goes: then its cancel has arrived.
            self.connection.recv(1)
            counts["cancelled"] += 1
        return True


class ClientGone(Exception):
    pass


class Stream:
    """One streamed answer: the chunks of vLLM's, in HTTP's chunks."""

    def __init__(self, engine, asked, kind):
        self.engine = engine
        self.asked = asked
        self.is_chat = kind == "chat.completion"
        self.kind = kind + ".chunk" if self.is_chat else kind
        self.how = {}

    def run(self, prompt):
        if found := re.match(r"!stream:(\S+) ", prompt):
            self.how = dict(word.partition("=")[::2] for word in found[1].split(","))
        with lock:
            counts["streaming"] += 1
        try:
            self.begin()
            self.tell(prompt)
        except (ClientGone, OSError):
            self.engine.close_connection = True
            with lock:
                counts["cut_off"] += 1
                counts["cut_off_us"] = time.monotonic_ns() // 1000
        finally:
            with lock:
                counts["streaming"] -= 1

    def begin(self):
        self.engine.send_response(200)
        self.engine.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.engine.send_header("Transfer-Encoding", "chunked")
        self.engine.end_headers()
        if self.is_chat:
            self.send_choice({"delta": {"role": "assistant", "content": ""}})

    def tell(self, prompt):
        tokens = ["x" * 1000] * int(self.how["flood"]) if "flood" in self.how else re.findall(r"\s*\S+", prompt)
        for number, token in enumerate(tokens):
            if number == int(self.how.get("after", -1)):
                return self.misbehave()
            self.wait(int(self.how.get("delay", 0)) / 1000)
            self.send_choice({"delta": {"content": token}} if self.is_chat else {"text": token})
        reason = "length" if len(tokens) >= self.asked.get("max_tokens", 1 << 30) else "stop"
        self.send_choice({"delta": {}} if self.is_chat else {"text": ""}, reason)
        if self.asked.get("stream_options", {}).get("include_usage"):
            self.send_chunk([], {"prompt_tokens": len(tokens), "total_tokens": 2 * len(tokens), "completion_tokens": len(tokens)})
        if "no-done" not in self.how:
            self.send_event("[DONE]")
        self.write(b"")

    def misbehave(self):
        if "hang" in self.how:
            self.wait(3600)
        elif "error" in self.how:
            self.send_event(json.dumps(error("EngineCore died", "InternalServerError", 500)))
            self.send_event("[DONE]")
        elif "garbage" in self.how:
            self.send_event('{"choices": [{')
        if "break" in self.how:
            self.engine.close_connection = True
        else:
            self.write(b"")

    # A client that goes is noticed at once, as by an engine that polls for it at each token.
    def wait(self, seconds):
        if select.select([self.engine.connection], [], [], seconds)[0]:
            raise ClientGone

    def send_choice(self, choice, reason=None):
        self.send_chunk([{"index": 0, **choice, "logprobs": None, "finish_reason": reason}])

    def send_chunk(self, choices, usage=None):
        chunk = {"id": "chatcmpl-1", "object": self.kind, "created": 1764000000, "model": self.asked["model"], "choices": choices}
        self.send_event(json.dumps(chunk | ({"usage": usage} if usage else {}), indent=1 if "odd" in self.how else None))

    def send_event(self, data):
        if "odd" in self.how:
            event = ": a comment\r\n\r\nevent: message\r\nid: 7\r\n" + "".join(f"data:{line}\r\n" for line in data.split("\n")) + "\r\n"
        else:
            event = f"data: {data}\n\n"
        self.write(event.encode())

    def write(self, data):
        rest = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        while rest:
            if not select.select([], [self.engine.connection], [], 0.2)[1]:
                with lock:
                    counts["held_up"] += 1
                continue
            rest = rest[self.engine.connection.send(rest):]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that goes is no news."""


server = Server(("127.0.0.1", 0), Engine)
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate)
    # The handshake belongs to the connection's own thread: one that fails must not stop the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
sys.stdout.close()
server.serve_forever()
