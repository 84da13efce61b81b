"""What a batch costs over the daemon's own throughput: the same requests through SQL and straight to the daemon.

The daemon is asked with as many requests in flight as a batch has (its slots and half as many again), so it is never idle on either
side. steadytextd works, 16 tokens for each prompt; the echo daemon only waits, 5 ms in each of 16 slots, which shows the batch's own cost
where requests are short.
"""
import json

from harness import BUILD, Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 7
SLOTS = 16
IN_FLIGHT = SLOTS * 3 // 2
TOKENS = 16
PROMPTS = {"native": 48, "echo": 4000}
PROMPT = "Tell a story about number {} in round {}"


def batch_seconds(asked: Cluster, count: int, number: int) -> float:
    prompt = PROMPT.format("' || i || '", number)
    return asked.seconds(1, f"SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT '{prompt}' FROM generate_series(1, {count}) i), "
                            f"{TOKENS}, false) WHERE $1::text IS NOT NULL", count)


def raw_seconds(endpoint: str, count: int, number: int) -> float:
    params = [json.dumps({"prompt": PROMPT.format(i, number), "max_new_tokens": TOKENS, "seed": 42, "return_usage": True})
              for i in range(1, count + 1)]
    return float(Bench.output(BUILD / "generate_load", endpoint, IN_FLIGHT, input="\n".join(params) + "\n").split("\n", 1)[0])


def wait_until_ready(asked: Cluster) -> None:
    asked.wait_for("SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind = 'native'", "1", "the daemon is not ready")
    asked.value("SELECT steadytext_generate('ready?', 1)")


def compare(bench: Bench, daemon: str, endpoint_of) -> Measured:
    with cluster(daemon, "steadytext.request_timeout = '5min'") as asked:
        wait_until_ready(asked)
        endpoint = endpoint_of(asked)
        rounds = {"batch": 0, "raw": 0}

        def per_second(side: str) -> float:
            rounds[side] += 1
            count = PROMPTS[daemon]
            seconds = (batch_seconds(asked, count, rounds[side]) if side == "batch" else
                       raw_seconds(endpoint, count, rounds[side]))
            return count / seconds

        samples = bench.interleave(ROUNDS, {side: lambda side=side: per_second(side) for side in rounds})
    return Measured(ratios(samples["raw"], samples["batch"]),
                    {"batch, prompts/s": samples["batch"], "straight to the daemon, prompts/s": samples["raw"]})


def embedded_endpoint(asked: Cluster) -> str:
    return f"ipc://{asked.value('SHOW data_directory')}/pg_steadytext/steadytextd.sock"


def echo_endpoint(asked: Cluster) -> str:
    asked.ask_echo("control", {"slots": SLOTS, "delay_ms": 5})
    return asked.value("SHOW steadytext.daemons")


def measure(bench: Bench) -> dict[str, Measured]:
    return {"batch_steadytextd": compare(bench, "native", embedded_endpoint),
            "batch_echo": compare(bench, "echo", echo_endpoint)}


TOPIC = Topic(
    f"prompts per second straight to a daemon of {SLOTS} slots against steadytext_generate_batch",
    [Row("batch_steadytextd", "steadytextd, straight / by batch", 1.05, "lower"),
     Row("batch_echo", "echo daemon of 16 slots, 5 ms each, straight / by batch", 1.05, "lower")],
    measure)
