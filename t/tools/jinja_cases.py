#!/usr/bin/env python3
"""Templates rendered by build/jinja and by Python's jinja2, compared.

    jinja_cases.py HANDWRITTEN COUNT SEED TOOL    COUNT templates made at random beside those of the file HANDWRITTEN

Prints each that differs, then "N templates compared, U of them not supported, D differ". What this one refuses as not supported (0A000) does
not differ; any other answer must be Python's, an error where Python has one.
"""
import json
import random
import subprocess
import sys

import jinja2
import jinja2.meta

VARIABLES = {
    "name": "Ada", "empty": "", "zero": 0, "n": 7, "minus": -3, "price": 1.5, "big": 123456789012345678901234567890, "yes": True, "no": False,
    "nothing": None, "text": "The quick brown fox jumps over the lazy dog", "accents": "Élan Straße ñandú 北京", "html": "<a href=\"x\">'&'</a>",
    "lines": "one\ntwo\r\n\nthree", "words": ["pear", "Apple", "fig", "apple"], "numbers": [3, 1, 2, 2.5, -1], "nested": [[1, 2], [3, [4]]],
    "user": {"name": "Bob", "age": 42, "tags": ["a", "b"], "items": "mine", "address": {"city": "Paris"}},
    "people": [{"name": "Bob", "age": 42, "city": "Rome"}, {"name": "amy", "age": 7, "city": "Oslo"}, {"name": "Cy", "age": 42, "city": "rome"}],
    "pairs": [["a", 1], ["b", 2]], "mapping": {"b": 2, "a": 1, "C": 3}, "none_list": [None, 1, "", "x"], "hyphens": "well-known state-of-the-art -- mother-in-law's e-mail",
}


class Maker:
    """Random templates over a grammar: most of what it makes can be rendered."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def of(self, *choices):
        return self.random.choice(choices)

    def text(self, depth=0):
        return self.of("name", "text", "accents", "empty", "html", "user.name", "user['name']", "'lit'", '"q\\"t\\n"', "words[0]", "words[-1]",
                       "text[4:9]", "text[::-1]", "lines", "hyphens",
                       *([f"({self.expression(depth + 1)})|string", f"({self.text(depth + 1)} ~ {self.expression(depth + 1)})",
                          f"{self.text(depth + 1)}|{self.text_filter()}", f"({self.text(depth + 1)} + 'x')", f"'%s-%03d'|format(name, n)",
                          f"{self.text(depth + 1)}.{self.method()}"] if depth < 3 else []))

    def text_filter(self):
        return self.of("upper", "lower", "title", "capitalize", "trim", "replace('a', 'b')", "replace('o', '0', 1)", "truncate(12)", "truncate(9, true)",
                       "truncate(15, false, '…', 0)", "wordwrap(10)", "wordwrap(7, false)", "wordwrap(12, break_on_hyphens=false)", "center(20)",
                       "reverse", "escape", "e", "indent(2)", "indent(3, true, true)", "default('d')", "urlencode", "string", "first", "last",
                       "trim('Ad')", "forceescape", "safe")

    def method(self):
        return self.of("upper()", "lower()", "strip()", "replace('e', '3')", "split()[0]", "split('o')|join('-')", "capitalize()", "center(9, '*')",
                       "ljust(8) ~ '|'", "rjust(8, '.')", "lstrip('T')", "rstrip('ag')", "zfill(9)", "splitlines()|first", "removeprefix('Th')")

    def number(self, depth=0):
        return self.of("n", "zero", "minus", "price", "user.age", "3", "2.25", "1_000", "1e3", "numbers[0]", "words|length", "text|length", "loop.index",
                       *([f"({self.number(depth + 1)} {self.of('+', '-', '*', '/', '//', '%')} {self.number(depth + 1)})", f"-{self.number(depth + 1)}",
                          f"{self.number(depth + 1)}|{self.of('abs', 'int', 'float', 'round', 'round(1)', 'round(2, method=self)', 'string')}".replace("method=self", self.of("'ceil'", "'floor'")),
                          f"numbers|{self.of('sum', 'max', 'min', 'first', 'last', 'length')}", f"({self.of('2', 'n', 'price')} ** {self.of('2', '3', '-1', '0')})",
                          f"people|sum(attribute='age')", f"'{self.of('12', ' 7 ', 'x', '1.9', '1_0', '-4e1')}'|{self.of('int', 'float', 'int(5)')}"] if depth < 3 else []))

    def sequence(self, depth=0):
        return self.of("words", "numbers", "nested", "none_list", "range(4)", "range(1, 10, 3)", "range(3, -1, -1)", "[1, 'a', 2.0]", "(1, 2)", "[]",
                       "user.tags", "mapping", "name", "mapping.items()", "mapping.keys()|list", "mapping.values()|list",
                       *([f"{self.sequence(depth + 1)}|{self.sequence_filter()}", f"({self.sequence(depth + 1)}|list)[{self.of('1:', ':2', '::-1', '-2:', '::2')}]",
                          f"({self.sequence(depth + 1)}|list + [0])"] if depth < 2 else []))

    def sequence_filter(self):
        return self.of("list", "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "reverse|list", "unique|list", "map('string')|list", "select|list",
                       "reject|list", "select('string')|list", "reject('none')|list", "batch(2)|list", "batch(3, '-')|list", "slice(2)|list",
                       "map('upper')|list", "select('number')|list", "list|join(', ')", "map('length')|list", "slice(3, 'x')|list")

    def records(self):
        return self.of("people", "people|sort(attribute='name')", "people|sort(attribute='age,name', reverse=true)", "people|selectattr('age', 'gt', 10)|list",
                       "people|rejectattr('city', 'equalto', 'Oslo')", "people|groupby('city')", "people|groupby('age')", "mapping|dictsort", "mapping|dictsort(by='value', reverse=true)",
                       "people|map(attribute='name')|list", "people|map(attribute='zip', default='?')|list", "people|unique(attribute='age')|list",
                       "people|max(attribute='age')", "people|min(attribute='name')", "mapping|items|list")

    def test(self, depth=0):
        return self.of("yes", "no", "nothing", "missing", "name", "n > 3", f"{self.number(2)} {self.of('==', '!=', '<', '<=', '>', '>=')} {self.number(2)}", "1 < n <= 7",
                       "'a' in words", "'quick' in text", "'z' not in text", "'name' in user", f"n is {self.of('odd', 'even', 'divisibleby 7', 'number', 'string', 'integer', 'float')}",
                       f"{self.of('missing', 'name', 'nothing', 'user.zip')} is {self.of('defined', 'undefined', 'none', 'not none', 'string', 'mapping', 'sequence', 'iterable', 'boolean')}",
                       "name is eq 'Ada'", "name is in words", "words is sequence", "text == name",
                       *([f"not {self.test(depth + 1)}", f"({self.test(depth + 1)} {self.of('and', 'or')} {self.test(depth + 1)})"] if depth < 2 else []))

    def expression(self, depth=0):
        if depth > 3:
            return self.of("n", "name")
        return self.of(self.text, self.text, self.number, self.sequence, lambda d: self.records(), self.test,
                       lambda d: f"({self.expression(d + 1)} if {self.test(d)} else {self.expression(d + 1)})",
                       lambda d: f"missing|default({self.expression(d + 1)})", lambda d: f"{self.expression(d + 1)}|default('x', true)",
                       lambda d: "{'k': %s, 'l': [%s]}" % (self.expression(d + 1), self.number(2)), lambda d: f"{self.of('user', 'people', 'words', 'numbers', 'html', 'accents', 'mapping')}|tojson{self.of('', '(2)', '(indent=1)')}",
                       lambda d: self.of("user", "people", "mapping", "price", "big", "nothing", "yes", "nested", "missing", "user.zip", "user.items", "words.zip"))(depth)

    def blanks(self):
        return self.of("", "", "", " ", "\n", "  \n ")

    def tag(self, body):
        return "{%" + self.of("", "", "-", "+") + " " + body + " " + self.of("", "", "-") + "%}"

    def output(self):
        return "{{" + self.of("", "", "-") + " " + self.expression() + " " + self.of("", "", "-") + "}}"

    def statement(self, depth=0):
        if depth > 2:
            return self.output()
        body = lambda: self.body(depth + 1)
        return self.of(
            self.output, self.output, lambda: self.of("plain ", "\n", " t ", "{# note #}", "{#- n -#}", "{% raw %}{{ raw }}{% endraw %}", "a\r\nb"),
            lambda: self.tag(f"if {self.test()}") + body() + self.of("", self.tag(f"elif {self.test()}") + body()) + self.of("", self.tag("else") + body()) + self.tag("endif"),
            lambda: self.tag(f"for x in {self.sequence()}" + self.of("", "", " if x", " if x is number")) + self.of("{{ x }}", "{{ loop.index }}:{{ x }}", "{{ loop.first }}{{ loop.last }}", "{{ loop.revindex }}/{{ loop.length }}",
                "{{ loop.cycle('a', 'b') }}", "{{ loop.previtem }}>{{ loop.nextitem }}", "{% if not loop.last %}, {% endif %}", "{{ loop.changed(x) }}") + body() + self.of("", self.tag("else") + body()) + self.tag("endfor"),
            lambda: self.tag(f"for p in people") + "{{ p.name }}" + body() + self.tag("endfor"),
            lambda: self.tag(f"for k, v in {self.of('mapping.items()', 'pairs', 'mapping|dictsort', 'user|items')}") + "{{ k }}={{ v }};" + self.tag("endfor"),
            lambda: self.tag(f"set {self.of('a', 'name', 'n', 'x')} = {self.expression()}") + body() + self.of("{{ a }}", "{{ x }}", "{{ n }}"),
            lambda: self.tag(f"set a{self.of('', '|upper', '|replace(1, 2)|trim')}") + body() + self.tag("endset") + "[{{ a }}]",
            lambda: self.tag(f"with a = {self.expression()}, b = {self.of('a', 'n')}") + "{{ a }}{{ b }}" + body() + self.tag("endwith"),
            lambda: self.tag(f"filter {self.of('upper', 'trim', 'replace(chr, 1)'.replace('chr', chr(39) + 'a' + chr(39)), 'title|trim', 'indent')}") + body() + self.tag("endfilter"),
            lambda: self.tag("macro m(a, b=2, c=name)") + "<{{ a }}|{{ b }}|{{ c }}>" + body() + self.tag("endmacro") + "{{ m(" + self.of("", "1", "n, c=3", "1, 2, 3", "b=5", "text|upper") + ") }}",
            lambda: self.tag("macro w(t)") + "({{ caller() }}{{ t }})" + self.tag("endmacro") + self.tag("call w(name)") + body() + self.tag("endcall"),
            lambda: "{% set ns = namespace(t=0) %}" + self.tag("for x in numbers") + "{% set ns.t = ns.t + x %}" + self.tag("endfor") + "{{ ns.t }}",
        )()

    def body(self, depth=0):
        return "".join(self.statement(depth) + self.blanks() for _ in range(self.random.randint(1, 3)))

    def template(self):
        made = self.body() + self.of("", "", "\n", "\n\n")
        if self.random.random() < 0.05:  # broken: a few characters less
            at = self.random.randrange(len(made))
            made = made[:at] + made[at + self.random.randint(1, 3):]
        return made


def reference(source, variables, strict):
    """What Python does: names (None: no template), error, text."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined if strict else jinja2.Undefined)
    try:
        names = sorted(jinja2.meta.find_undeclared_variables(environment.parse(source)))
        template = environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        return None, str(error), None
    except Exception as error:  # the compiler's own
        return None, repr(error), None
    if strict and set(names) - set(variables):
        return names, "missing", None
    try:
        return names, None, template.render(**variables)
    except Exception as error:
        return names, f"{type(error).__name__}: {error}", None


def main():
    handwritten, count, seed, tool = sys.argv[1:]
    with open(handwritten, encoding="utf-8", newline="") as file:
        sources = [text[1:] if text.startswith("\n") else text for text in file.read().split("\n----")]
    written = len(sources)
    maker = Maker(int(seed))
    sources += [maker.template() for _ in range(int(count))]
    variables = json.dumps(VARIABLES, ensure_ascii=False)
    cases = [(source, mode) for source in sources for mode in ("lax", "strict")]
    asked = "".join(f"{source}\0{variables}\0{mode}\0" for source, mode in cases)
    answers = subprocess.run([tool], input=asked.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    differ = refused = rendered = 0
    reasons = {}
    for i, (source, mode) in enumerate(cases):
        names, state, said = answers[3 * i:3 * i + 3]
        known, error, text = reference(source, json.loads(variables), mode == "strict")
        # Python looks for a filter that is missing inside an if only when it comes there.
        if state == "0A000" or (state == "42601" and ("No filter " in said or "No test " in said)):
            refused += 1
            reasons[said] = reasons.get(said, 0) + 1
            continue
        rendered += state == ""
        same_names = names == ("error" if known is None else ",".join(known))
        same_result = said == text if state == "" else error is not None
        if not (same_names and same_result):
            differ += 1
            print(f"{mode} {source!r}\n  ours:   {names} {state} {said!r}\n  Python: {known} {error} {text!r}")
    if "--reasons" in sys.argv or differ:
        for reason, times in sorted(reasons.items(), key=lambda each: -each[1])[:30]:
            print(times, reason)
    print(f"{len(sources)} templates compared, {written} of them written by hand; of {len(cases)} renderings {rendered} gave text, {refused} were not supported, {differ} differ")


if __name__ == "__main__":
    main()
