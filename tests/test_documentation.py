"""The README says what the code does."""

from slothful import Settings
from standalone.documentation import README, parameter_table, with_table


def test_the_readme_holds_the_table_of_the_declarations():
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text), "run `python -m standalone.documentation`"


def test_the_table_has_a_row_for_every_parameter_with_its_help():
    table = parameter_table()
    for parameter in Settings.parameters():
        assert f"| `{parameter.name}` | {parameter.label} |" in table
        assert parameter.help in table
