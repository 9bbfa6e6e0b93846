"""Writes what derives from the code: the tables of methods and parameters in the documents, and the
texts of ComfyUI's nodes in Japanese.

python -m standalone.documentation
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from slothful import METHODS, PARTS, Parameter, Settings
from standalone.comfy_texts import NODE_TEXTS, node_texts

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PARAMETERS = ROOT / "docs" / "parameters.md"


def method_table() -> str:
    """Every method and what it is made of, as a Markdown table."""
    header = (
        "method",
        "keys and values",
        "tiles of queries",
        "keys from the rest of the image",
        "merging",
        "agents",
    )
    rows = []
    for name in METHODS:
        parts = PARTS[name]
        keys = parts.reduce if parts.agents is None else None  # who reduce queries
        own = keys, parts.tile, parts.global_ratio, parts.merge, parts.agents
        cells = map(_words, own)
        rows.append((f"**{name}**", *cells))
    return _table(header, rows)


def _words(part: Callable | None) -> str:
    """What the first line of a part's docstring says of it."""
    if part is None:
        return "-"
    return (part.__doc__ or "").splitlines()[0].rstrip(".")


def parameter_table() -> str:
    """Every parameter in the order of the API's values, as a Markdown table."""
    header = ("name", "on the page", "values", "default", "what it does")
    return _table(header, [_row(parameter) for parameter in Settings.parameters()])


Tables = dict[str, Callable[[], str]]
"""Tables of a document, by the names in its marks."""

TABLES: dict[Path, Tables] = {
    PARAMETERS: {"parameters": parameter_table, "methods": method_table},
}


def with_tables(document: Path, tables: Tables) -> str:
    """A document's text with each of the tables between its two marks."""
    text = document.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table()}\n{end}{after}"
    return text


def write_tables(documents: dict[Path, Tables]) -> None:
    """Write the tables of some documents into them."""
    for document, tables in documents.items():
        document.write_text(with_tables(document, tables), encoding="utf-8")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _row(parameter: Parameter) -> tuple[str, ...]:
    values = parameter.range_text.removeprefix("one of ")
    if parameter.step is not None and parameter.kind != "weights":
        values += f", step {parameter.step:g}"
    default = parameter.format(parameter.default) or "none"
    only = f" (*{_methods_text(parameter.methods)}*)" if parameter.methods else ""
    return f"`{parameter.name}`", parameter.label, values, default, parameter.help + only


def _methods_text(methods: Sequence[str]) -> str:
    others = [name for name in METHODS if name not in methods]
    if len(others) < len(methods):
        return "all but " + " and ".join(others)
    return ", ".join(methods)


if __name__ == "__main__":
    write_tables(TABLES)
    NODE_TEXTS.write_text(node_texts(), encoding="utf-8")
