"""Writes the parts of the README that derive from the code: the table of parameters.

python -m standalone.documentation
"""

from __future__ import annotations

from pathlib import Path

from slothful import Parameter, Settings

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- parameters: begin -->", "<!-- parameters: end -->"


def parameter_table() -> str:
    """Every parameter in the order of the page, as a Markdown table."""
    rows = [
        "| name | on the page | values | default | what it does |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows += [_row(parameter) for parameter in Settings.parameters()]
    return "\n".join(rows)


def with_table(text: str) -> str:
    """The README's text with the table that belongs between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{parameter_table()}\n{END}{after}"


def _row(parameter: Parameter) -> str:
    values = parameter.range_text.removeprefix("one of ")
    if parameter.step is not None and parameter.kind != "weights":
        values += f", step {parameter.step:g}"
    default = parameter.format(parameter.default) or "none"
    only = f" (*{' and '.join(parameter.methods)}*)" if parameter.methods else ""
    cells = (f"`{parameter.name}`", parameter.label, values, default, parameter.help + only)
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
