"""benchmarks.pictures.quality: change against cost, on images of the small model."""

import csv

import pytest

from benchmarks.pictures.quality import Row, as_table, main

ONLY = ["--only", "50%", "deep blocks n = 3, 1 awake", "EasyCache"]


def rows_of(folder):
    with (folder / "contest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_images_are_made_once_and_each_has_its_cost_and_change(tmp_path, capsys):
    arguments = ["--images", "2", "--steps", "12", "--size", "64x64", "--out", str(tmp_path), *ONLY]
    assert main(arguments) == 0
    rows = rows_of(tmp_path)
    assert len(rows) == len({(row["variant"], row["seed"]) for row in rows}) == 8
    left = {row["variant"]: float(row["left"]) for row in rows}
    assert left["50% of the steps"] == 0.5
    # steps 0, 3, 6 and 9 are awake
    last, linear = (left[f"deep blocks n = 3, 1 awake, {kind}"] for kind in ("last", "linear"))
    assert 4 / 12 < last == linear < 1
    assert 0 < left["EasyCache"] <= 1
    assert all(0 <= float(row["change"]) < 1 for row in rows)
    first = capsys.readouterr().out
    before = (tmp_path / "contest.csv").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "contest.csv").read_bytes() == before
    assert capsys.readouterr().out == first


def test_a_table_compares_with_the_nearest_rival_that_costs_no_less():
    at = "small", "Euler", "20", "256x256"

    def rows(name, left, *changes):
        return [
            Row(*at, name, str(seed), str(left), str(change), distance="0", caption="1")
            for seed, change in enumerate(changes)
        ]

    compared = [
        *rows("80% of the steps", 0.8, 0.0, 0.0),
        *rows("50% of the steps", 0.5, 0.3, 0.5),
        *rows("35% of the steps", 0.35, 0.9, 0.9),
        *rows("DeepCache 3", 0.45, 0.2, 0.4),
        *rows("ours", 0.45, 0.1, 0.3),
    ]
    table = as_table(compared, sorted({row.variant for row in compared}))
    ours = next(line for line in table.splitlines() if line.startswith("| ours"))
    assert "| 45% | 0.2 " in ours
    assert "-0.2 (-0.2 to -0.2) (50% of the steps)" in ours
    assert "-0.1 (-0.1 to -0.1) (DeepCache 3)" in ours


@pytest.mark.parametrize(
    "arguments", [["--only", "nobody"], ["--size", "big"], ["--model", "missing.safetensors"]]
)
def test_wrong_input_is_one_line(arguments, capsys):
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert arguments[1] in error
