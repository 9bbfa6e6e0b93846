"""The documents say what the code does."""

import csv
import re

import pytest

from benchmarks.pictures import documented
from benchmarks.pictures.contestants import contestants
from slothful import METHODS, Settings
from standalone.documentation import (
    README,
    ROOT,
    TABLES,
    method_table,
    parameter_table,
    with_tables,
)

DOCUMENTS = sorted([README, *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", TABLES, ids=lambda path: path.name)
def test_the_documents_hold_the_tables_of_the_declarations(document):
    text = document.read_text(encoding="utf-8")
    assert all(table() in text for table in TABLES[document].values())
    tables = TABLES[document]
    assert text == with_tables(document, tables), "run `python -m standalone.documentation`"


@pytest.mark.parametrize("document", documented.TABLES, ids=lambda path: path.name)
def test_the_documents_tell_what_the_rows_of_the_contest_say(document):
    text, tables = document.read_text(encoding="utf-8"), documented.TABLES[document]
    assert all(table() in text for table in tables.values())
    written = with_tables(document, tables)
    assert text == written, "run `python -m benchmarks.pictures.documented`"


def test_a_table_of_the_contest_has_the_mean_of_its_rows():
    """Of the images that there are of all that it names."""
    assert {*documented.IN_README, *documented.IN_EFFECTS} <= contestants().keys()
    with documented.ROWS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["size"] == "512x512"]
    made = {name: {} for name in documented.IN_README}
    for row in rows:
        made.get(row["variant"], {})[row["seed"]] = float(row["change"])
    seeds = set.intersection(*map(set, made.values()))
    mean = sum(made["Slothful Attention"][seed] for seed in seeds) / len(seeds)
    lines = documented.readme_table().splitlines()
    assert f"{len(seeds)} images" in lines[0]
    own = [line for line in lines if line.startswith("| Slothful Attention |")]
    assert [line.split(" | ")[2] for line in own] == [f"{mean:.4f} |"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_is_there(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)|src="([^"]+)"', text)
    for target in (first or second for first, second in links):
        assert "://" in target or (document.parent / target).exists(), target


def test_the_readme_is_short_enough_to_be_read():
    assert README.read_text(encoding="utf-8").count("\n") < 180


def test_the_table_has_a_row_for_every_parameter_with_its_help():
    table = parameter_table()
    for parameter in Settings.parameters():
        assert f"| `{parameter.name}` | {parameter.label} |" in table
        assert parameter.help in table


def test_the_methods_are_all_in_their_table_and_in_the_text():
    text = README.read_text(encoding="utf-8")
    for name in METHODS:
        assert f"| **{name}** |" in method_table()
        assert f"| **{name}** |" in text
