"""Random prompts, parameters and prefixes as SQL COPY text, and the keys Python gives them, for t/030_cache_key.pl.

    json_cases.py make COUNT SEED     number, prompt, params, prefix: one line each
    json_cases.py keys                reads number, prompt (NFC), params::text, prefix, key as JSON in hexadecimal; prints
                                     what differs
"""
import hashlib
import json
import random
import sys

PIECES = ["", "a", "Z", " ", "\t", "\n", "\r", "\b", "\f", "\x01", "\x1f", "\x7f", '"', "\\", "/", "<", "é", "ß", "Ω", "日本",
          "\u2028", "\ufeff", "\uffff", "😀", "𐍈", "\U0010ffff", "e\u0301", "null", "0"]
NUMBERS = ["0", "-0", "1", "-1", "42", "0.0", "-0.0", "1.0", "1.50", "0.1", "1e5", "1E+5", "1e16", "1e15", "123456789012345678",
           "1e30", "1e22", "1e23", "0.0001", "0.00001", "1e-7", "1.7976931348623157e308", "5e-324", "2.5e-324", "1e309",
           "-1e400", "9007199254740993", "9007199254740993.0", "3.141592653589793238", "100000000000000000000000000000",
           "0.30000000000000004", "1e-400", "123e-2", "4.35", "2e0"]


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


def copied(field):
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\b", "\\b"), ("\f", "\\f")):
        field = field.replace(plain, escaped)
    return field


def make(count, seed):
    chance = random.Random(seed)
    for i in range(count):
        print("\t".join([str(i), copied(text(chance)), copied(document(chance, 3)), copied(chance.choice(["", "generate:", "x|"]))]))


def keys():
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
    make(int(sys.argv[2]), int(sys.argv[3])) if sys.argv[1] == "make" else keys()
