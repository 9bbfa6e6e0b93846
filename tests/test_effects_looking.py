"""Where attention looks: known for attention that is made by hand."""

import csv

import pytest
import torch

from benchmarks.effects.looking import look_of, main, tile_share

GRID = (8, 12)
TOKENS = GRID[0] * GRID[1]


def test_attention_to_everything_alike_is_at_the_mean_distance_and_uses_all_keys():
    query = torch.zeros(TOKENS, 4)
    look = look_of(
        query, torch.randn(TOKENS, 4, generator=torch.Generator().manual_seed(0)), GRID, 4
    )
    assert look.distance == pytest.approx(1, abs=1e-5)
    assert look.keys_used == pytest.approx(1, abs=1e-5)
    assert look.own_tile == pytest.approx(tile_share(GRID, 4), abs=1e-5)
    assert tile_share(GRID, 4) == pytest.approx(4 * 4 / TOKENS)


def test_attention_to_oneself_is_near_and_uses_one_key():
    own = 1000 * torch.eye(TOKENS)
    look = look_of(own, own, GRID, 4)
    assert look == pytest.approx((0, 1, 1 / TOKENS), abs=1e-5)


def test_attention_to_one_corner():
    query, key = torch.ones(TOKENS, 1), torch.zeros(TOKENS, 1)
    key[0] = 1000
    look = look_of(query, key, GRID, 4)
    away = [(row**2 + column**2) ** 0.5 for row in range(GRID[0]) for column in range(GRID[1])]
    every = [((a - c) ** 2 + (b - d) ** 2) ** 0.5
             for a in range(GRID[0]) for b in range(GRID[1])
             for c in range(GRID[0]) for d in range(GRID[1])]  # fmt: skip
    expected = (sum(away) / len(away)) / (sum(every) / len(every))
    assert look.distance == pytest.approx(expected, rel=1e-4)
    assert look.own_tile == pytest.approx(4 * 4 / TOKENS)


def test_a_tile_at_the_edge_is_smaller():
    assert tile_share((4, 6), 4) == pytest.approx((16 * 16 + 8 * 8) / 24**2)


@pytest.mark.slow
def test_the_command_looks_at_every_head_and_weighs_every_site(tmp_path, capsys):
    assert main(["--size", "64x64", "--images", "1", "--out", str(tmp_path)]) == 0
    with (tmp_path / "looking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * 8
    assert all(0 < float(row["keys_used"]) <= 1.0001 for row in rows)
    said = capsys.readouterr().out
    assert said.count("| OUT11 |") == 2


def test_bad_input_is_named(tmp_path, capsys):
    assert main(["--size", "64", "--out", str(tmp_path)]) == 2
    assert "64" in capsys.readouterr().err
