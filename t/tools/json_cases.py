"""Random prompts, parameters and prefixes, and what Python makes of them, for t/030_cache_key.pl.

    json_cases.py make COUNT SEED         number, prompt, params, prefix as SQL COPY text: one line each
    json_cases.py keys                    reads number, prompt (NFC), params::text, prefix, key as JSON in hexadecimal; prints
                                         what differs
    json_cases.py texts COUNT SEED TOOL   hands documents, every third one damaged, to t/tools/canonical_json.cpp; prints what
                                         differs
"""
import hashlib
import json
import random
import subprocess
import sys

PIECES = ["", "a", "Z", " ", "\t", "\n", "\r", "\b", "\f", "\x01", "\x1f", "\x7f", '"', "\\", "/", "<", "é", "ß", "Ω", "日本",
          "\u2028", "\ufeff", "\uffff", "😀", "𐍈", "\U0010ffff", "e\u0301", "null", "0"]
NUMBERS = ["0", "-0", "1", "-1", "42", "0.0", "-0.0", "1.0", "1.50", "0.1", "1e5", "1E+5", "1e16", "1e15", "123456789012345678",
           "1e30", "1e22", "1e23", "0.0001", "0.00001", "1e-7", "1.7976931348623157e308", "5e-324", "2.5e-324", "1e309",
           "-1e400", "9007199254740993", "9007199254740993.0", "3.141592653589793238", "100000000000000000000000000000",
           "0.30000000000000004", "1e-400", "123e-2", "4.35", "2e0"]
DAMAGE = list('{}[]",:-+.0e1 \\u\t\n\x01é') + ["\\ud83d", "NaN", "-Infinity", "nul", "true"]


def text(chance):
    return "".join(chance.choice(PIECES) for _ in range(chance.choice([0, 1, 1, 2, 3, 8])))


def number(chance):
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return str(chance.randrange(-10**chance.randrange(1, 40), 10**chance.randrange(1, 40)))
    if kind == 2:
        return repr(chance.uniform(-1, 1) * 10.0**chance.randrange(-300, 300))
    return f"{chance.randrange(10**6)}.{chance.randrange(10**9)}e{chance.randrange(-30, 30)}"


def value(chance, depth):
    kind = chance.randrange(8 if depth > 0 else 6)
    if kind < 2:
        return number(chance)
    if kind < 4:
        # Escaped or plain, the document is the same.
        return json.dumps(text(chance), ensure_ascii=chance.random() < 0.5)
    if kind == 4:
        return chance.choice(["true", "false", "null"])
    if kind == 5:
        return chance.choice(["{}", "[]", "[{}]", '{"":[]}', "[[],[]]"])
    if kind == 6:
        return "[" + ",".join(value(chance, depth - 1) for _ in range(chance.randrange(4))) + "]"
    return document(chance, depth - 1)


def document(chance, depth):
    members = [json.dumps(text(chance)) + ": " + value(chance, depth) for _ in range(chance.randrange(6))]
    return "{" + " , ".join(members) + "}"


def spaced(chance):
    return "".join(chance.choice(" \t\r\n") for _ in range(chance.choice([0, 0, 1, 3])))


def damaged(chance, text):
    """One character less, more or other than it was."""
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(["", *DAMAGE]) + text[at + chance.randrange(2):]


def encodable(value):
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
    return value


def refused(word):
    raise ValueError(word)


def canonical(text):
    """What Python gives; None for what is not JSON, although its loads may take it."""
    try:
        value = json.loads(text, parse_constant=refused, object_pairs_hook=lambda members: dict(encodable(members)))
        return json.dumps(encodable(value), sort_keys=True)
    except ValueError:
        return None


def copied(field):
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\b", "\\b"), ("\f", "\\f")):
        field = field.replace(plain, escaped)
    return field


def make(count, seed):
    chance = random.Random(seed)
    for i in range(count):
        print("\t".join([str(i), copied(text(chance)), copied(document(chance, 3)), copied(chance.choice(["", "generate:", "x|"]))]))


def texts(count, seed, tool):
    chance = random.Random(seed)
    cases = [spaced(chance) + value(chance, 4) + spaced(chance) for _ in range(count)]
    cases = [damaged(chance, case) if i % 3 == 0 else case for i, case in enumerate(cases)]
    done = subprocess.run([tool], input="".join(case + "\x00" for case in cases).encode(), stdout=subprocess.PIPE, check=True)
    forms = [form or None for form in done.stdout.decode().split("\n")[:-1]]
    different = [case for case, form in zip(cases, forms, strict=True) if canonical(case) != form]
    for case in different[:5]:
        print(f"{case!r} is {canonical(case)}")
    print(f"{count} texts compared, {forms.count(None)} of them no JSON, {len(different)} differ")


def keys():
    if hasattr(sys, "set_int_max_str_digits"):  # before 3.10.7 there was no limit
        sys.set_int_max_str_digits(0)
    count = different = 0
    for line in sys.stdin:
        case = json.loads(bytes.fromhex(line))
        canonical = json.dumps(json.loads(case["params"]), sort_keys=True)
        wanted = hashlib.sha256(f"{case['prefix']}{case['prompt']}|{canonical}".encode()).hexdigest()
        count += 1
        if wanted != case["key"]:
            different += 1
            if different <= 5:
                print(f"{case['number']}: {case['params']} is {canonical}")
    print(f"{count} keys compared, {different} differ")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    command, *arguments = sys.argv[1:]
    if command == "make":
        make(int(arguments[0]), int(arguments[1]))
    elif command == "texts":
        texts(int(arguments[0]), int(arguments[1]), arguments[2])
    else:
        keys()
