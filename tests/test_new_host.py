"""A new host as docs/architecture.md shows it: its lines, run on a copy of the core."""

import importlib
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from ldm.modules.attention import BasicTransformerBlock, CrossAttention
from ldm.modules.diffusionmodules.openaimodel import UNetModel

from tests.test_rooms import CORE, ROOT
from tests.unets import inputs, make_unet, module_state

BLOCKS = re.findall(
    r"```python\n(.*?)```",
    (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"),
    re.DOTALL,
)
STRONG = dict(in_slothful=12, out_slothful=9, in_depth_decay=0.5)
STEPS = (900.0, 600.0, 300.0)


class HintedAttention(CrossAttention):
    def forward(self, x, hints=None):
        return super().forward(x, context=hints)


class HintedBlock(BasicTransformerBlock):
    def _forward(self, x, context=None):
        x = self.attn1(self.norm1(x), hints=None) + x
        x = self.attn2(self.norm2(x), hints=context) + x
        return self.ff(self.norm3(x)) + x


class HintedUnet(UNetModel):
    easel_version = 1

    def forward(self, x, timesteps, hints):
        return super().forward(x, timesteps, context=hints)


CLASSES = {
    CrossAttention: HintedAttention, BasicTransformerBlock: HintedBlock, UNetModel: HintedUnet
}  # fmt: skip


class Easel:
    """The imaginary program."""

    def __init__(self, net):
        self.model = SimpleNamespace(net=net)
        self.on_begin, self.controls = [], []

    def add_control(self, *described):
        self.controls.append(described)

    def paint(self):
        latent, timesteps, keywords = inputs(self.model.net)
        word = "hints" if isinstance(self.model.net, HintedUnet) else "context"
        for begin in self.on_begin:
            begin(STEPS, 256, 192)
        calls = (
            self.model.net(latent, timesteps.fill_(step), **{word: keywords["context"]})
            for step in STEPS
        )
        return torch.stack(list(calls))


def hinted_unet():
    unet = make_unet("sd1")
    for module in unet.modules():
        module.__class__ = CLASSES.get(type(module), type(module))
    return unet


def loaded(package):
    return [name for name in sys.modules if name.partition(".")[0] == package]


@pytest.fixture
def copy_with_easel(tmp_path, monkeypatch):
    """The new host on a copy of the core with its dialect, and the copy."""
    host, dialect, detection = BLOCKS
    shutil.copytree(CORE, tmp_path / "slothful", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "slothful_easel").mkdir()
    (tmp_path / "slothful_easel" / "__init__.py").write_text(host)
    calls, anatomy = (tmp_path / "slothful" / "unet" / name for name in ("calls.py", "anatomy.py"))
    calls.write_text(calls.read_text() + "\n\n" + dialect)
    text = anatomy.read_text().replace("import DIFFUSERS,", "import EASEL, DIFFUSERS,")
    start = text.index("\n    if", text.index("def anatomy_of("))
    anatomy.write_text(text[:start] + "\n" + detection + text[start:])
    monkeypatch.syspath_prepend(tmp_path)
    for name in loaded("slothful"):
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module("slothful_easel"), importlib.import_module("slothful")
    for name in [*loaded("slothful"), *loaded("slothful_easel")]:
        del sys.modules[name]  # what was there before comes back


def test_the_lines_of_the_documentation_make_a_host(copy_with_easel):
    face, core = copy_with_easel
    assert core.__file__.startswith(str(face.__file__.rpartition("/slothful_easel")[0]))
    painted = []
    for unet in (make_unet("sd1"), hinted_unet()):
        easel, before = Easel(unet), module_state(unet)
        plain = easel.paint()
        with face.lazily(easel, core.Settings(**STRONG, time_axis="pass progress")) as application:
            painted.append(easel.paint())
            assert application.applied_sites
            assert not application.notes
        assert torch.equal(easel.paint(), plain)
        assert not torch.equal(painted[-1], plain)
        assert (module_state(unet), easel.on_begin) == (before, [])
    assert torch.equal(*painted)  # the same weights, in the words of both
    face.controls(easel)
    assert [label for label, *_ in easel.controls] == [p.label for p in core.Settings.parameters()]
