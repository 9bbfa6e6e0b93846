"""The documents say what the code does."""

import re

import pytest

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
    assert text == with_tables(document), "run `python -m standalone.documentation`"


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
        assert text.count(f"**{name}**") >= 2
