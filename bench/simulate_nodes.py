#!/usr/bin/env python3
"""What many independent nodes cost their hub: a simulation, event by event, of docs/nodes.md's protocol with the constants of bgworker/node_main.cpp.

    bench/simulate_nodes.py                       # the table of docs/nodes.md: 10, 100 and 1,000 nodes, straight and through PgBouncer
    bench/simulate_nodes.py --nodes 20 --seconds 5 --seed 7 --json

The hub is a number of processors that serve statements in their order; how long a statement takes was measured (docs/nodes.md says how). Each node has
one connection for questions, with one statement at a time, and one for what it brings. The same seed gives the same figures.
"""
import argparse
import heapq
import json
import random
import statistics
from collections import deque

WATCH_S = 1.0         # a fourth of steadytext.hub_max_staleness, a second at most
MESSAGE_S = 0.005     # between looks because of messages
GATHER_S = 0.020      # answers that arrive together are brought together
LOOKUP_S = 0.020      # steadytext.hub_lookup_timeout
MOST_QUESTIONS = 64   # of a statement
MOST_RECORDS = 256    # of a batch


class Hub:
    """Statements wait for a processor in the order in which they come."""

    def __init__(self, processors: int):
        self.free = [0.0] * processors
        self.busy_s = 0.0
        self.under_way: list[float] = []  # ends of statements
        self.most_at_once = 0
        self.statements = {"watch": 0, "get": 0, "put": 0}

    def serve(self, now: float, kind: str, seconds: float) -> float:
        """When the statement has ended."""
        begin = max(now, heapq.heappop(self.free))
        heapq.heappush(self.free, begin + seconds)
        self.busy_s += seconds
        self.statements[kind] += 1
        while self.under_way and self.under_way[0] <= now:
            heapq.heappop(self.under_way)
        heapq.heappush(self.under_way, begin + seconds)
        self.most_at_once = max(self.most_at_once, len(self.under_way))
        return begin + seconds


class Node:
    def __init__(self) -> None:
        self.questions: deque[float] = deque()  # when each was asked
        self.is_asking = False                  # a statement is under way
        self.watch_at = 0.0
        self.heard = 0
        self.records = 0
        self.brings = False


class Simulation:
    def __init__(self, options: argparse.Namespace, nodes: int, pooled: bool):
        self.options, self.pooled = options, pooled
        self.random = random.Random(f"{options.seed} {nodes} {pooled}")
        self.hub = Hub(options.processors)
        self.nodes = [Node() for _ in range(nodes)]
        self.events: list[tuple] = []
        self.count = 0
        self.clears: list[float] = []
        self.lookups_s: list[float] = []
        self.heard_s: list[float] = []

    def at(self, when: float, what, *arguments) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what, arguments))

    def run(self) -> dict:
        for node in self.nodes:
            node.watch_at = self.random.uniform(0, WATCH_S)
            self.at(node.watch_at, self.work, node)
            self.at(self.random.expovariate(self.options.misses), self.miss, node)
        self.at(self.random.expovariate(self.options.clears / 60), self.clear)
        while self.events and self.events[0][0] < self.options.seconds:
            now, _, what, arguments = heapq.heappop(self.events)
            what(now, *arguments)
        return self.figures()

    # ---- what happens ----

    def miss(self, now: float, node: Node) -> None:
        node.questions.append(now)
        self.work(now, node)
        self.at(now + self.random.expovariate(self.options.misses), self.miss, node)

    def clear(self, now: float) -> None:
        self.clears.append(now)
        if not self.pooled:  # LISTEN needs a session of its own
            for number, node in enumerate(self.nodes):
                self.at(now + self.options.round_trip / 2 + number * self.options.notify_us / 1e6, self.told, node)
        self.at(now + self.random.expovariate(self.options.clears / 60), self.clear)

    def told(self, now: float, node: Node) -> None:
        node.watch_at = min(node.watch_at, now + MESSAGE_S)
        self.at(node.watch_at, self.work, node)

    def work(self, now: float, node: Node) -> None:
        """The node worker's next statement, if its connection is free."""
        if node.is_asking:
            return
        half = self.options.round_trip / 2
        if now >= node.watch_at:
            node.is_asking = True
            self.at(now + half, self.on_hub, node, "watch", self.options.watch_us, [])
        elif node.questions:
            asked = [node.questions.popleft() for _ in range(min(MOST_QUESTIONS, len(node.questions)))]
            node.is_asking = True
            self.at(now + half, self.on_hub, node, "get", self.options.get_us + len(asked) * self.options.key_us, asked)

    def on_hub(self, now: float, node: Node, kind: str, us: float, asked: list[float]) -> None:
        end = self.hub.serve(now, kind, us / 1e6)
        self.at(end + self.options.round_trip / 2, self.replied, node, kind, len(self.clears), asked)

    def replied(self, now: float, node: Node, kind: str, clears: int, asked: list[float]) -> None:
        node.is_asking = False
        if kind == "watch":
            node.watch_at = now + WATCH_S
            self.at(node.watch_at, self.work, node)
            self.heard_s += [now - at for at in self.clears[node.heard:clears]]
            node.heard = clears
        for at in asked:
            self.lookups_s.append(now - at)
            if self.random.random() >= self.options.found:  # its own daemon computes it, and the hub is brought it
                self.at(now + self.options.compute, self.answered, node)
        self.work(now, node)

    def answered(self, now: float, node: Node) -> None:
        node.records += 1
        if not node.brings:
            node.brings = True
            self.at(now + GATHER_S, self.bring, node)

    def bring(self, now: float, node: Node) -> None:
        count = min(node.records, MOST_RECORDS)
        node.records -= count
        end = self.hub.serve(now + self.options.round_trip / 2, "put", (self.options.put_us + count * self.options.record_us) / 1e6)
        node.brings = node.records > 0
        if node.brings:
            self.at(end + self.options.round_trip / 2, self.bring, node)

    # ---- what it comes to ----

    def figures(self) -> dict:
        seconds, lookups = self.options.seconds, max(1, len(self.lookups_s))

        def at(values: list[float], share: float) -> float:
            return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1] * 1e3 if len(values) > 1 else 0.0

        return {"nodes": len(self.nodes), "pooled": self.pooled,
                "connections": self.hub.most_at_once if self.pooled else len(self.nodes),
                "statements_per_s": {kind: count / seconds for kind, count in self.hub.statements.items()},
                "processors": self.hub.busy_s / seconds, "lookups": len(self.lookups_s),
                "lookup_ms": [at(self.lookups_s, 0.5), at(self.lookups_s, 0.99)],
                "late": sum(took > LOOKUP_S for took in self.lookups_s) / lookups,
                "heard_ms": [at(self.heard_s, 0.5), at(self.heard_s, 0.99)],
                "hub_us_per_request": self.hub.busy_s / lookups * 1e6}


def line(figures: dict) -> str:
    per_s = figures["statements_per_s"]
    return (f"| {figures['nodes']:,} | {'PgBouncer' if figures['pooled'] else 'straight'} | {figures['connections']:,} | "
            f"{per_s['watch']:,.0f} / {per_s['get']:,.0f} / {per_s['put']:,.0f} | {figures['processors']:.2f} | "
            f"{figures['lookup_ms'][0]:.1f} / {figures['lookup_ms'][1]:.1f} ms | {100 * figures['late']:.1f} % | "
            f"{figures['heard_ms'][0]:.0f} / {figures['heard_ms'][1]:.0f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processors", type=int, default=4, help="of the hub, for nodes alone")
    parser.add_argument("--misses", type=float, default=5, help="a second and node")
    parser.add_argument("--found", type=float, default=0.5, help="share of misses that the hub has")
    parser.add_argument("--clears", type=float, default=6, help="a minute, on the hub")
    parser.add_argument("--compute", type=float, default=0.5, help="seconds of an answer that a daemon computes")
    parser.add_argument("--round-trip", type=float, default=0.001, help="seconds")
    for name, default in (("watch", 40), ("get", 65), ("key", 8), ("put", 110), ("record", 5), ("notify", 10)):
        parser.add_argument(f"--{name}-us", type=float, default=default, help="microseconds on the hub")
    parser.add_argument("--json", action="store_true", help="the figures of one number of nodes, straight")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(Simulation(options, options.nodes[0], False).run()))
        return
    print("| nodes | connected | connections | watch / get / put a second | processors | a lookup, half / 99 % | late | a clear is heard of, half / 99 % |")
    print("|---|---|---|---|---|---|---|---|")
    for nodes in options.nodes:
        for pooled in (False, True):
            print(line(Simulation(options, nodes, pooled).run()), flush=True)


if __name__ == "__main__":
    main()
