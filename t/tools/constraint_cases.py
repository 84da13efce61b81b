"""Schemas and regexes at random over all that structured output supports, and the check of what came of them.

    constraint_cases.py schemas N SEED     N lines {"prompt", "schema"}
    constraint_cases.py regexes N SEED     N lines {"prompt", "regex"}
    constraint_cases.py check              reads lines {"schema", "document"}; prints those that do not parse or validate

Used by t/240_structured.pl. The check is the jsonschema package's, which has no part in how the answers came about.
"""
import json
import random
import sys

PROMPTS = [
    "Describe a fictional person who lives by the sea.",
    "Invent a product that a small bakery could sell.",
    "Tell me about the planet Mars.",
    "Give an example of an order in a web shop.",
    "Write down what you know about \"quoted\" words, back\\slashes and naïve cafés.",
    "Count to ten in French.",
]
NAMES = ["name", "age", "city", "tags", "price", "id", "größe", "a \"quoted\" key", "is_open", "x", "parent", "notes"]


class Schemas:
    def __init__(self, rng):
        self.rng = rng

    def case(self):
        schema = self.of_object(2) if self.rng.random() < 0.6 else self.any(2)
        if self.rng.random() < 0.25:
            schema = self.with_definitions(schema)
        return {"prompt": self.rng.choice(PROMPTS), "schema": schema}

    def any(self, depth):
        kinds = [self.of_string, self.of_integer, self.of_number, self.of_enum, self.of_const, self.of_pattern,
                 lambda _: {"type": self.rng.choice(["boolean", "null"])},
                 lambda _: {"type": ["string", "null", "integer"]}]
        if depth > 0:
            kinds += [self.of_object, self.of_array, self.of_tuple, self.of_any, self.of_all, self.of_one]
        return self.rng.choice(kinds)(depth)

    def of_string(self, _):
        schema = {"type": "string"}
        if self.rng.random() < 0.5:
            schema["minLength"] = self.rng.randint(0, 6)
        if self.rng.random() < 0.5:
            schema["maxLength"] = schema.get("minLength", 0) + self.rng.randint(0, 20)
        if schema.get("maxLength", 1) > 0 and self.rng.random() < 0.4:
            schema["pattern"] = self.rng.choice(["^[A-Z]", "\\d", "^[a-z ]*$", "^\\S*$", "(^a|é$)"])
        return schema

    def of_pattern(self, _):
        return {"type": "string", "pattern": "^" + Regexes(self.rng, ["[:digit:]"]).alternatives(1) + "$"}

    def bounds(self, schema, low, high):
        if self.rng.random() < 0.6:
            schema[self.rng.choice(["minimum", "exclusiveMinimum"])] = low
        if self.rng.random() < 0.6:
            schema[self.rng.choice(["maximum", "exclusiveMaximum"])] = high
        return schema

    def of_integer(self, _):
        low = self.rng.randint(-1000, 1000)
        return self.bounds({"type": "integer"}, low, low + self.rng.choice([2, 9, 500, 10**6]))

    def of_number(self, _):
        low = round(self.rng.uniform(-100, 100), self.rng.randint(0, 4))
        return self.bounds({"type": "number"}, low, low + self.rng.choice([0.01, 0.5, 33.25, 1e4]))

    def of_enum(self, _):
        values = ["red", "green", "it's \"blue\"", 7, -2.5, None, True, {"k": [1, 2]}, ["a"], "ünï"]
        return {"enum": self.rng.sample(values, self.rng.randint(1, 5))}

    def of_const(self, _):
        return {"const": self.rng.choice(["fixed", 42, None, {"a": {"b": "c\n"}}, [1, "two"]])}

    def of_array(self, depth):
        schema = {"type": "array", "items": self.any(depth - 1)}
        if self.rng.random() < 0.5:
            schema["minItems"] = self.rng.randint(0, 3)
        if self.rng.random() < 0.5:
            schema["maxItems"] = schema.get("minItems", 0) + self.rng.randint(0, 4)
        return schema

    def of_tuple(self, depth):
        parts = [self.any(depth - 1) for _ in range(self.rng.randint(1, 3))]
        return {"type": "array", "prefixItems": parts, "items": self.rng.choice([False, {"type": "integer"}])}

    def of_object(self, depth):
        names = self.rng.sample(NAMES, self.rng.randint(0, 5))
        schema = {"type": "object", "properties": {name: self.any(depth - 1) for name in names}}
        if self.rng.random() < 0.7:
            schema["required"] = self.rng.sample(names, self.rng.randint(0, len(names)))
        if self.rng.random() < 0.6:
            schema["additionalProperties"] = self.rng.choice([False, True, {"type": "integer"}])
        return schema

    def of_any(self, depth):
        return {"anyOf": [self.any(depth - 1) for _ in range(self.rng.randint(1, 3))], "title": "One of several"}

    def of_one(self, depth):
        return {"oneOf": [{"type": "object", "required": ["kind", "it"],
                           "properties": {"kind": {"const": kind}, "it": self.any(depth - 1)}} for kind in ("p", "q")]}

    def of_all(self, depth):
        return {"allOf": [{"type": "object", "properties": {"a": self.any(depth - 1)}, "required": ["a"]},
                          {"type": "object", "properties": {"b": self.any(depth - 1)}}]}

    def with_definitions(self, schema):
        tree = {"type": "object", "required": ["value", "children"],
                "properties": {"value": self.any(0), "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}
        return {"type": "object", "properties": {"root": {"$ref": "#/$defs/tree"}, "other": schema},
                "required": self.rng.choice([["root"], ["root", "other"], ["other"]]), "$defs": {"tree": tree}}


class Regexes:
    def __init__(self, rng, without=()):
        self.rng = rng
        parts = ["a-z", "A-F", "0-9", "_", ".", "x", " ", "\\d", "\\s", "\\w", "\\]", "\\-", "é-ö", "*", "[:digit:]"]
        self.class_parts = [part for part in parts if part not in without]

    def case(self):
        regex = self.alternatives(3)
        if self.rng.random() < 0.3:
            regex = "^" + (regex if "|" not in regex else f"(?:{regex})") + "$"
        return {"prompt": self.rng.choice(PROMPTS), "regex": regex}

    def alternatives(self, depth):
        if depth > 0 and self.rng.random() < 0.25:
            return "|".join(self.sequence(depth - 1) for _ in range(self.rng.randint(2, 3))).join(("(", ")"))
        return self.sequence(depth)

    def sequence(self, depth):
        return "".join(self.quantified(depth) for _ in range(self.rng.randint(1, 4)))

    def quantified(self, depth):
        low = self.rng.randint(0, 3)
        return self.atom(depth) + self.rng.choice(
            ["", "", "", "?", "*", "+", f"{{{low}}}", f"{{{low},}}", f"{{{low},{low + self.rng.randint(0, 3)}}}",
             "??", "*?", "+?", f"{{{low},{low + 2}}}?", f"{{{low},}}?"])

    def atom(self, depth):
        if depth > 0 and self.rng.random() < 0.3:
            return self.rng.choice(["(", "(?:"]) + self.alternatives(depth - 1) + ")"
        return self.rng.choice([
            lambda: self.rng.choice("abcxyzABC019 _-,:;@#%&=<>/'\"~`!é€"),
            lambda: self.rng.choice(["\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "."]),
            lambda: "\\" + self.rng.choice(".*+?()[]{}|^$\\/-"),
            lambda: self.rng.choice(["\\t", "\\n", "\\u00e9", "\\u0041"]),
            self.character_class,
        ])()

    def character_class(self):
        parts = self.rng.sample(self.class_parts, self.rng.randint(1, 4))
        return "[" + self.rng.choice(["", "", "^"]) + "".join(parts) + self.rng.choice(["", "-"]) + "]"


def check():
    import jsonschema  # needed for this only
    bad = 0
    for line in sys.stdin:
        case = json.loads(line)
        try:
            jsonschema.validate(json.loads(case["document"]), case["schema"], jsonschema.Draft202012Validator)
        except (ValueError, jsonschema.ValidationError) as error:
            bad += 1
            print(f"{str(error).splitlines()[0]}\n  schema: {json.dumps(case['schema'])}\n  document: {case['document']}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check()
    kind = {"schemas": Schemas, "regexes": Regexes}[sys.argv[1]](random.Random(int(sys.argv[3])))
    for _ in range(int(sys.argv[2])):
        print(json.dumps(kind.case(), ensure_ascii=False))
