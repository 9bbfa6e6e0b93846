"""The README says what the code does."""

from slothful import Settings
from slothful.methods import METHODS
from standalone.documentation import README, method_table, parameter_table, with_tables


def test_the_readme_holds_the_tables_of_the_declarations():
    text = README.read_text(encoding="utf-8")
    assert text == with_tables(text), "run `python -m standalone.documentation`"


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
