"""steadytext_if over a labelled set, against steadytext_generate_choice with the same prompt and the same model.

352 letters to a shop, made by templates with a fixed seed, of which it is known whether the writer wants money back. Both are asked by plain SQL,
each letter once, without the cache. steadytext_if says where its instruction ends, so steadytextd computes that once; both choose between two
answers by their likelihood at once, without decoding.
"""
import random

from daemons import steadytextd_for_sql
from harness import Bench, Measured, Row, Topic, ratios
from sql import Cluster, cluster

ROUNDS = 7
LETTERS = 44  # of a round
CONDITION = "The writer wants money back."
INSTRUCTION = f"Say whether a statement is true of a text. Answer yes or no.\n\nStatement: {CONDITION}\n\nText: "
GOODS = ("lamp", "chair", "kettle", "bicycle", "radio", "coat", "tent", "clock", "printer", "mirror", "guitar", "suitcase")
OPENINGS = ("Good morning,", "Dear all,", "Hello,", "To whom it may concern:", "Hi there,")
WANTS = ("please refund what I paid for the {}", "I want my money back for the {}", "I return the {} and expect a full refund",
         "transfer the price of the {} back to my account")
OTHERS = ("thank you for the {}, we love it", "which batteries does the {} need", "can you tell me when the {} will be in stock again",
          "the {} arrived today, two days early", "I would like to order a second {}")
STORIES = ("My neighbour recommended your shop.", "We have been customers for years.", "I ordered it last Monday.", "The parcel came by bicycle.",
           "It stands in the kitchen now.", "My order number is {}.")


def letters(source: random.Random, count: int) -> list[tuple[str, bool]]:
    """No text twice."""
    made: dict[str, bool] = {}
    while len(made) < count:
        wants = source.random() < 0.5
        sentence = source.choice(WANTS if wants else OTHERS).format(source.choice(GOODS))
        made[f"{source.choice(OPENINGS)} {sentence}. {source.choice(STORIES).format(source.randrange(10_000))}"] = wants
    return list(made.items())


CALLS = {"steadytext_if": f"steadytext_if('{CONDITION}', body)",
         "steadytext_generate_choice": f"steadytext_generate_choice('{INSTRUCTION}' || body, ARRAY['yes', 'no'], use_cache => false) = 'yes'"}
# The answers are kept, as is known to be true; $1 is a text of the program that asks.
STATEMENT = ("WITH w AS (INSERT INTO answers SELECT '{side}', body, wants, {call} FROM letters WHERE round = {round} RETURNING 1) "
             "SELECT count(*) FROM w WHERE $1::text IS NOT NULL")


def share(asked: Cluster, condition: str, pairs: str) -> float:
    return float(asked.value(f"SELECT avg(({condition})::int) FROM {pairs}"))


def measure(bench: Bench) -> dict[str, Measured]:
    with steadytextd_for_sql() as daemon, cluster("none", "jit = off", f"steadytext.daemons = '{daemon.endpoint}'", "steadytext.request_timeout = '10min'",
                                                  "steadytext.cache_enabled = off") as asked:
        asked.wait_for("SELECT state FROM steadytext_daemons", "ready", "the daemon is not ready")
        asked.value("CREATE TABLE letters (round int, body text, wants boolean); CREATE TABLE answers (side text, body text, wants boolean, said boolean)")
        rows = letters(random.Random(20), LETTERS * (ROUNDS + 1))
        asked.value("INSERT INTO letters VALUES " + ", ".join(f"({i // LETTERS}, $b${body}$b$, {wants})" for i, (body, wants) in enumerate(rows)))
        rounds = dict.fromkeys(CALLS, -1)

        def per_second(side: str) -> float:
            rounds[side] += 1
            return LETTERS / asked.seconds(1, STATEMENT.format(side=side, call=CALLS[side], round=rounds[side]), LETTERS)

        for side in CALLS:  # the first round is no sample
            per_second(side)
        samples = bench.interleave(ROUNDS, {side: lambda side=side: per_second(side) for side in CALLS})
        both = "answers a JOIN answers b USING (body) WHERE a.side = 'steadytext_if' AND b.side = 'steadytext_generate_choice'"
        agree = share(asked, "a.said = b.said", both)
        right = {side: share(asked, "said = wants", f"answers WHERE side = '{side}'") for side in CALLS}
        bench.say(f"they agree on {agree:.3f} of {asked.value('SELECT count(*) FROM letters')} letters; right are {right}")
    parts = {f"{side}, rows/s": samples[side] for side in CALLS} | {"both say the same": [agree]} | {f"{side} is right": [value] for side, value in right.items()}
    return {"if_choice": Measured(ratios(samples["steadytext_if"], samples["steadytext_generate_choice"]), parts)}


TOPIC = Topic("rows per second of steadytext_if against steadytext_generate_choice",
              [Row("if_choice", "rows/s of steadytext_if / steadytext_generate_choice", 1.5, "higher")], measure)
