"""The cluster that topics measure SQL in: its own, started by scripts/devcluster and stopped at the end."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Iterator

from harness import BUILD, ROOT, Bench

SQL_CALLS = BUILD / "sql_calls"
WIRE_CLIENT = ROOT / "build" / "wire-client"


class Cluster:
    """A running cluster. Failures raise: a fallback must never be measured as if it were an answer."""

    def __init__(self, daemon: str, *settings: str):
        self.daemon = daemon
        self.settings = settings
        self.home = BUILD / "cluster"
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        self._devcluster("start", f"--daemon={self.daemon}", *(f"--conf={setting}" for setting in self.settings))
        shown = Bench.output("bash", "-c", 'set -a; . "$0"; env -0', self.home / "env")
        self.environment = dict(line.split("=", 1) for line in shown.split("\0") if line)
        self.environment["PGOPTIONS"] = "-c steadytext.on_failure=error"

    def stop(self) -> None:
        self._devcluster("stop")

    def _devcluster(self, *words: str) -> None:
        environment = os.environ | {"STEADYTEXT_CLUSTER": str(self.home)}
        Bench.output(ROOT / "scripts" / "devcluster", *words, env=environment)

    def value(self, query: str) -> str:
        return Bench.output("psql", "-XAtqc", query, env=self.environment).strip()

    def wait_for(self, query: str, value: str, otherwise: str) -> None:
        """Until the query gives the value; after two minutes it fails, in the words of `otherwise`."""
        deadline = time.monotonic() + 120
        while self.value(query) != value:
            if time.monotonic() > deadline:
                raise RuntimeError(otherwise)
            time.sleep(0.05)

    def seconds(self, sessions: int, statement: str, expected: object) -> float:
        """How long so many sessions take for the statement, together; each must give the value expected."""
        return Bench.number(SQL_CALLS, sessions, statement, expected, env=self.environment)

    def ask_echo(self, method: str, params: dict) -> dict:
        """What the echo daemon answers to a request from outside the server."""
        endpoint = f"ipc://{os.readlink(self.home / 'run')}/echo.sock"
        script = json.dumps({"method": method, "params": params, "id": "bench"}) + "\n<\n"
        return json.loads(Bench.output(WIRE_CLIENT, endpoint, input=script))["result"]

    def postmaster(self) -> int:
        return int(self.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))

    def worker(self, title: str) -> int:
        """The process id of the background worker of this title."""
        parent = self.postmaster()
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # a process may go while it is looked at
                if f"\nPPid:\t{parent}\n" in status.read_text() and title in (status.parent / "cmdline").read_text():
                    return int(status.parent.name)
        raise RuntimeError(f"no process of postmaster {parent} is called {title}")


@contextlib.contextmanager
def cluster(daemon: str, *settings: str) -> Iterator[Cluster]:
    started = Cluster(daemon, *settings)
    started.start()
    try:
        yield started
    finally:
        started.stop()


@contextlib.contextmanager
def raw_router() -> Iterator[str]:
    """The endpoint of a ROUTER that gives every message back: ZeroMQ without any daemon."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/raw"
        server = subprocess.Popen([BUILD / "raw_zmq", "serve", endpoint], stderr=sys.stderr)
        try:
            yield endpoint
        finally:
            server.terminate()
            server.wait()


def generate_calls(count: int) -> str:
    """A statement of so many calls, no two alike in any session, none of them answered by a cache."""
    return ("SELECT count(steadytext_generate($1::text || ' ' || i, use_cache => false)) "
            f"FROM generate_series(1, {count}) i")
