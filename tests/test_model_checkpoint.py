"""Checkpoints: what loads, what it answers, and what is refused in one line."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from standalone.checkpoint import SMALL, CheckpointError, build, load
from standalone.model.export import checkpoint_weights, schedule_buffers
from standalone.model.install_into_webui import main as install
from standalone.model.packed import unpacked, untrained_rows, write_pack
from tests.networks import CONFIG, random_weights


@pytest.fixture(scope="module")
def weights():
    return checkpoint_weights(random_weights())


@pytest.fixture
def checkpoint(weights, tmp_path):
    """A checkpoint with random weights, its configuration beside it."""
    save_file(weights, tmp_path / "random.safetensors")
    shutil.copy(CONFIG, tmp_path / "random.yaml")
    return tmp_path / "random.safetensors"


@pytest.fixture(scope="module")
def packed(weights, tmp_path_factory):
    """A pack of it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.copy(CONFIG, folder / "random.yaml")
    write_pack(weights, folder / "random.pack")
    return folder / "random.pack"


@pytest.fixture
def pack(packed, tmp_path, monkeypatch):
    """The same pack in a new folder, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    shutil.copytree(packed.parent, tmp_path / "place")
    return tmp_path / "place" / packed.name


def test_a_checkpoint_loads_without_touching_the_global_generator(checkpoint):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model = load(checkpoint)
    assert torch.equal(torch.rand(4), expected)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_parts_fit_together(checkpoint):
    model = load(checkpoint)
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = model.encode_first_stage(pictures)
        context = model.get_learned_conditioning(["a red circle on a blue background"])
        noise = model.apply_model(latents, torch.tensor([500]), context)
        decoded = model.decode_first_stage(latents)
    assert context.shape == (1, 77, 96)
    assert latents.shape == noise.shape == (1, 4, 8, 8)
    assert decoded.shape == pictures.shape


def test_the_file_has_the_names_and_the_schedule_of_sd1(weights):
    for name in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
        "first_stage_model.post_quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ):
        assert name in weights
    # SD1's betas: evenly spaced in their square roots
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(weights["betas"].double(), betas, atol=1e-6)
    assert torch.allclose(weights["alphas_cumprod"].double(), (1 - betas).cumprod(0), atol=1e-6)
    assert all(buffer.isfinite().all() for buffer in schedule_buffers(betas.cumsum(0)[:1]).values())


def test_what_is_not_an_sd1_checkpoint_is_refused_in_one_line(checkpoint, tmp_path):
    def reason(path):
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        return str(caught.value)

    assert "no such checkpoint" in reason(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("this is no checkpoint at all")
    assert "not a safetensors file" in reason(tmp_path / "text.safetensors")
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, tmp_path / "sdxl.safetensors")
    assert "not an SD1 checkpoint" in reason(tmp_path / "sdxl.safetensors")
    weights = load_file(checkpoint)
    weights["model.diffusion_model.out.2.bias"] = torch.zeros(5)
    save_file(weights, checkpoint)
    assert "'model.diffusion_model.out.2.bias' has shape (5,)" in reason(checkpoint)
    checkpoint.with_suffix(".yaml").unlink()
    assert ".yaml" in reason(checkpoint)


def test_the_tokenizer_gives_the_numbers_of_clip():
    encoded = build(CONFIG).cond_stage_model.tokenizer("a photo of a cat")["input_ids"]
    assert encoded == [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.mark.parametrize("suffix", ["checkpoint", "pack"])
def test_the_model_installs_into_a_webui_folder(suffix, request, tmp_path, capsys):
    source = request.getfixturevalue(suffix)
    assert install([str(tmp_path / "elsewhere"), "--model", str(source)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    target = tmp_path / "webui" / "models" / "Stable-diffusion"
    target.mkdir(parents=True)
    assert install([str(tmp_path / "webui"), "--model", str(source)]) == 0
    installed = load(target / "random.safetensors")
    assert installed.get_learned_conditioning(["a cat"]).shape == (1, 77, 96)
    assert str(target) in (target / "random.yaml").read_text()


def test_a_pack_is_a_smaller_file_with_nearly_the_same_weights(pack, weights):
    found = load_file(unpacked(pack))
    assert found.keys() == weights.keys()
    table = next(name for name in weights if name.endswith("token_embedding.weight"))
    for name, weight in weights.items():
        assert found[name].dtype == weight.dtype, name
        if name.startswith("model.diffusion_model."):
            # nine significant bits, of numbers that are not too small for all eleven
            least = 2.0**-14
            torch.testing.assert_close(found[name], weight, rtol=2**-9, atol=least * 2**-9)
        elif name != table:
            assert torch.equal(found[name], weight), name
    trained = (found[table] == weights[table]).all(1)
    assert 200 < trained.sum() < 2000, "only the words of captions are kept"
    assert torch.equal(found[table][~trained], untrained_rows(*weights[table].shape)[~trained])


def test_untrained_rows_are_the_same_everywhere_and_spread_as_clips():
    rows = untrained_rows(1000, 96).float()
    assert rows.std() == pytest.approx(0.02, rel=0.01)
    assert abs(rows.mean()) < 2e-4
    # of Philox's first integers, by hand: (n >> 11) / 2^52 - 1, times 0.02 sqrt(3)
    assert torch.equal(rows[:2], untrained_rows(2, 96).float())
    assert len(rows.unique(dim=0)) == 1000


def test_a_pack_is_unpacked_beside_itself_once(pack):
    path = unpacked(pack)
    assert path == pack.with_suffix(".safetensors")
    written = path.stat().st_mtime_ns
    assert unpacked(pack) == path
    assert path.stat().st_mtime_ns == written
    assert load(pack).get_learned_conditioning(["a cat"]).shape == (1, 77, 96)
    files = sorted(file.name for file in pack.parent.iterdir() if file.is_file())
    assert files == ["random.pack", "random.safetensors", "random.yaml"]


@pytest.mark.parametrize("beside", [b"", b"of an older pack", "other"])
def test_a_file_that_is_not_the_packs_is_replaced(beside, pack):
    path = pack.with_suffix(".safetensors")
    if beside == "other":
        save_file({"x": torch.zeros(1)}, path, metadata={"pack": "another"})
    else:
        path.write_bytes(beside)
    assert unpacked(pack) == path
    assert len(load_file(path)) > 500


def test_where_nothing_can_be_written_the_cache_is_used(pack, tmp_path, monkeypatch):
    import standalone.model.packed as module

    place = pack.parent
    writing = module._write

    def refuse(weights, digest, target):
        # as a read-only folder does, which does not stop the superuser
        if target.parent == place:
            raise PermissionError(target)
        writing(weights, digest, target)

    monkeypatch.setattr(module, "_write", refuse)
    path = unpacked(pack)
    assert tmp_path / "cache" in path.parents
    assert path.with_suffix(".yaml").read_bytes() == pack.with_suffix(".yaml").read_bytes()
    assert unpacked(pack) == path
    assert load(path).get_learned_conditioning(["a cat"]).shape == (1, 77, 96)


def test_first_uses_at_the_same_time_do_not_clash(pack):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(unpacked, [pack] * 4))
    assert paths == {pack.with_suffix(".safetensors")}
    assert len(load_file(paths.pop())) > 500
    assert len(list(pack.parent.iterdir())) == 3, "no half a file is left"


@pytest.mark.parametrize("part", [0.3, 0.5, 0.999])
def test_a_damaged_pack_is_told_in_one_line(part, pack):
    data = bytearray(pack.read_bytes())
    place = int(part * len(data))
    for damaged in (data[:place], data[:place] + bytes(64) + data[place + 64 :], b"no zip"):
        pack.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            load(pack)
        assert "damaged" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not pack.with_suffix(".safetensors").exists()


def test_the_small_model_and_all_that_is_tracked_stay_small():
    assert SMALL.stat().st_size < 42 * 2**20
