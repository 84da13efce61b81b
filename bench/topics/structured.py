"""What it costs that an answer has a form: steadytextd's tokens per second for JSON, regexes and choices, against free text.

Each sample has the same prompts on both sides, what steadytextd tells the model of the form included, and each free answer is as many tokens
long as the one with the form. The time runs from the first request to the last answer, so compiling the form counts.
"""
import json

from daemons import THREADS, Daemon, prompts_from, steadytextd
from harness import ROOT, Bench, Measured, Row, Topic, ratios

ROUNDS = 7
CLIENTS = (1, 16)
REQUESTS = {1: 3, 16: 16}  # in a sample
MOST_TOKENS = 64

FORMS = {
    "json": {"schema": {
        "type": "object", "required": ["title", "hero", "year", "true", "words"], "additionalProperties": False,
        "properties": {
            "title": {"type": "string", "maxLength": 40},
            "hero": {"type": "object", "required": ["name", "age"], "properties": {
                "name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "minimum": 0, "maximum": 120}}},
            "year": {"type": "integer", "minimum": 1000, "maximum": 2100},
            "true": {"type": "boolean"},
            "words": {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 16}, "minItems": 6, "maxItems": 8}}}},
    "regex": {"regex": r"([A-Z][a-z]{2,9}[,;]? ){8,12}(is|was) \d{4}-\d{2}-\d{2}\."},
    "choice": {"choices": [line for line in (ROOT / "demo" / "sentences.txt").read_text().splitlines() if line][:20]},
}


def told(form: dict) -> str:
    """What steadytextd puts behind the prompt of an answer with a form."""
    if "schema" in form:
        return "\n\nAnswer with JSON that satisfies this schema:\n" + json.dumps(form["schema"], separators=(",", ":"), sort_keys=True)
    if "regex" in form:
        return "\n\nAnswer with a text that matches this regular expression: " + form["regex"]
    return "\n\nAnswer with one of these:" + "".join("\n" + choice for choice in form["choices"])


def pairs_of_requests(daemon: Daemon, form: dict, count: int) -> list[tuple[dict, dict, int]]:
    """Requests with the form and free ones, told the same and answered by the same number of tokens; and that number."""
    source = prompts_from()
    pairs: list[tuple[dict, dict, int]] = []
    while len(pairs) < count:
        prompts = [next(source) for _ in range(16)]
        formed = [{"prompt": prompt, "max_new_tokens": MOST_TOKENS, "return_usage": True, **form} for prompt in prompts]
        answers = daemon.ask(16, formed)[1]
        free = [{"prompt": prompt + told(form), "max_new_tokens": answer["completion_tokens"], "return_usage": True}
                for prompt, answer in zip(prompts, answers)]
        pairs += [(one, other, mine["completion_tokens"]) for one, other, mine, its in zip(formed, free, answers, daemon.ask(16, free)[1])
                  if all(mine[key] == its[key] for key in ("prompt_tokens", "completion_tokens"))]
    return pairs[:count]


def compare(bench: Bench, daemon: Daemon) -> dict[str, Measured]:
    bench.say("looking for free answers that are long enough")
    measures = {}
    for name, form in FORMS.items():
        found = pairs_of_requests(daemon, form, max(REQUESTS.values()))
        for clients in CLIENTS:
            formed, free, lengths = zip(*found[:REQUESTS[clients]])
            for side, requests in ((f"{name} {clients}", formed), (f"free {name} {clients}", free)):
                measures[side] = (lambda clients=clients, requests=requests, tokens=sum(lengths):
                                  tokens / daemon.ask(clients, list(requests))[0])
    samples = bench.interleave(ROUNDS, measures)
    return {f"structured_{name}_{clients}": Measured(ratios(samples[f"{name} {clients}"], samples[f"free {name} {clients}"]),
                                                     {f"{name}, {clients} at once, tokens/s": samples[f"{name} {clients}"],
                                                      "free text of as many tokens, tokens/s": samples[f"free {name} {clients}"]})
            for name in FORMS for clients in CLIENTS}


def measure(bench: Bench) -> dict[str, Measured]:
    with steadytextd() as daemon:
        return compare(bench, daemon)


TOPIC = Topic(
    f"tokens per second of steadytextd with a form, against free text of as many tokens, {THREADS} thread(s)",
    [Row(f"structured_{name}_{clients}", f"{title}, {clients} at once / free text", 0.9, "higher")
     for name, title in (("json", "JSON of a schema"), ("regex", "matches of a regex"), ("choice", "one of 20 choices"))
     for clients in CLIENTS],
    measure)
