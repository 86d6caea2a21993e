"""A migration never breaks the release that is still running beside the new one, or that one goes back to.

What this can see without running the old release: a released migration is not edited, and a new one only adds. To take
something away takes two releases: one that no longer uses it, and a later one whose migration says so with
`-- unused since vX.Y.Z` on the line before.
"""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASED = Path(__file__).with_name("released_migrations.txt")
MIGRATIONS = sorted(ROOT.glob("services/*/migrations/**/*.sql"))

# What a running release could stumble over: it may still read it, or write rows without it.
TAKES_AWAY = re.compile(
    r"\b(drop\s+(table|column|index|view|constraint)|rename\b|alter\s+column|truncate\b|"
    r"add\s+column\s+(?!if)[^;,]*\bnot\s+null\b(?![^;,]*\bdefault\b)|add\s+constraint|create\s+unique\s+index)",
    re.IGNORECASE,
)
ALLOWED = re.compile(r"--\s*unused since v\d+\.\d+\.\d+\s*$", re.IGNORECASE)


def released():
    lines = RELEASED.read_text().splitlines()
    return {path: digest for digest, path in (line.split() for line in lines)}


def breaks(sql):
    """Returns the statements that take something away without saying since when nobody uses it."""
    found = []
    lines = sql.splitlines()
    for number, line in enumerate(lines):
        code = line.split("--")[0]
        before = lines[number - 1] if number else ""
        if TAKES_AWAY.search(code) and not ALLOWED.search(before):
            found.append(f"line {number + 1}: {line.strip()}")
    return found


def new_table(sql):
    """What a migration makes itself no other release can be using."""
    return {name.lower() for name in re.findall(r"create\s+table\s+(?:if\s+not\s+exists\s+)?(\w+)", sql, re.IGNORECASE)}


@pytest.mark.parametrize("path", sorted(released()))
def test_a_released_migration_is_as_it_was(path):
    assert (ROOT / path).is_file(), f"{path} is part of a release and must stay"
    assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == released()[path], f"{path} is part of a release"


def fresh():
    return [path for path in MIGRATIONS if str(path.relative_to(ROOT)) not in released()]


@pytest.mark.parametrize("path", fresh(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_new_migration_only_adds(path):
    sql = path.read_text()
    own = new_table(sql)
    found = [line for line in breaks(sql) if not any(re.search(rf"\b(on|alter\s+table)\s+{name}\b", line, re.IGNORECASE) for name in own)]
    assert not found, f"{path.relative_to(ROOT)} would break the release before it: {found}"


@pytest.mark.parametrize("path", fresh(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_new_migration_is_numbered_after_the_released_ones(path):
    siblings = [Path(name).name for name in released() if Path(name).parent == path.relative_to(ROOT).parent]
    assert all(path.name > sibling for sibling in siblings)


def test_the_rule_sees_what_it_is_for():
    assert breaks("alter table a drop column b;")
    assert breaks("alter table a add column b text not null;")
    assert breaks("alter table a rename to b;")
    assert not breaks("-- unused since v0.1.0\nalter table a drop column b;")
    assert not breaks("alter table a add column b text not null default '';")
    assert not breaks("alter table a add column b text;\ncreate table c (d text not null);")
