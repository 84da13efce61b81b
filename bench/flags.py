"""The feature flags, as docs/migration.md has them: its table of features, and its table of tests that do not pass without them.

Used by scripts/check-flags and bench/flag.
"""
import pathlib
import re
from dataclasses import dataclass, field

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "migration.md"


@dataclass
class Flag:
    name: str
    off: str  # lines of postgresql.conf
    on: str
    is_on_by_default: bool
    not_passing: set[str] = field(default_factory=set)


def rows(header: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    text = PAGE.read_text()
    body = text[text.index(header):].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def code(cell: str) -> str:
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else ""


def read() -> dict[str, Flag]:
    flags = {}
    for part, name, off, on, *_ in rows("| part | flag |"):
        flags[code(name)] = Flag(code(name), code(off), code(on), "(default)" in on)
    for name, tests, *_ in rows("| flag | SQL tests"):
        flags[code(name)].not_passing = set(re.findall(r"`(t/[^`]*)`", tests))
    return flags
