"""What ComfyUI is told of the nodes, without ComfyUI."""

import functools
import itertools
import json
import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from slothful import METHODS, Settings, SettingsError
from standalone.comfy_texts import JAPANESE, NODE_TEXTS, ROOT, load_face, node_texts

FACE = load_face()
KINDS = load_face("kinds")
NODES = FACE.NODE_CLASS_MAPPINGS
TYPES = {"float": "FLOAT", "int": "INT", "bool": "BOOLEAN", "weights": "STRING"}
ORIGINAL = {
    "SlothfulAttention": [
        0.4, 2.0, "2D_AVG", 2.0, 6.0, 0.0, 0.0, "2D_AVG", 2.0, 4.0, 0.0, 0.0,
    ],
    "NearSightedAttention": [
        2, 0.4, 2.0, 24, 32, 0.2, 0.8, "2D_AVG", 2.0, 6.0, 0.0, 0.0, "2D_AVG", 2.0, 4.0, 0.0, 0.0,
    ],
    "NearSightedAttentionSimple": [2, 0.4, 2.0, 24, 32, 0.2, 0.8, 4.0, 0.0, 0.0],
    "NearSightedTile": [2, 0.5, 32],
}  # fmt: skip
"""The defaults of the original's nodes in their order, as its workflows hold them."""


def inputs_of(name):
    return NODES[name].INPUT_TYPES()["optional"]


def settings_of(name, **values):
    return KINDS.joined(None, NODES[name].KIND.settings(values))


def own_methods():
    """The nodes of methods, by the method."""
    named = {NODES[name].KIND.title: name for name in NODES if not NODES[name].KIND.is_old}
    return {method: named[method] for method in METHODS}


def test_every_method_has_a_node_with_all_that_it_uses():
    for method, name in own_methods().items():
        used = {
            p.name for p in Settings.parameters() if p.used_by(method) and p.group not in KINDS.OWN
        }
        assert set(inputs_of(name)) == used - KINDS.ELSEWHERE


def test_every_parameter_is_in_a_node_or_said_to_be_elsewhere():
    names = {name for node in NODES for name in inputs_of(node)} | KINDS.ELSEWHERE
    assert {p.name for p in Settings.parameters()} <= names


@pytest.mark.parametrize("name", NODES)
def test_inputs_have_the_ranges_steps_and_texts_of_the_declarations(name):
    for each, (kind, options) in inputs_of(name).items():
        if each == "negative_prompt":
            assert (name, kind) == ("Slothful_NegativePrompt", "CONDITIONING")
            continue
        if each == "lazy":
            assert (name, kind) == ("Slothful_Lazy", ["off", "gentle", "balanced", "strong"])
            continue
        (setting, *_) = NODES[name].KIND.gives.get(each, (each,))
        declared = Settings.parameter(setting)
        if declared.kind == "choice":
            assert kind == list(declared.choices)
            assert options["default"] in kind
        else:
            assert kind == TYPES[declared.kind]
        if declared.kind in ("float", "int"):
            assert (options["min"], options["max"]) == (declared.minimum, declared.maximum)
            assert options["step"] == declared.step
            assert options["min"] <= options["default"] <= options["max"]
        if each == setting:
            assert options["tooltip"].startswith(declared.help)


@pytest.mark.parametrize("method", METHODS)
def test_the_defaults_of_a_methods_node_are_those_of_the_settings(method):
    assert settings_of(own_methods()[method]).changed() == Settings(method=method).changed()


def test_the_defaults_of_the_simple_nodes_are_those_of_the_settings():
    for name in ("SlothfulAttention", "NearSightedAttention"):
        simple, full = settings_of(f"Slothful_{name}Simple"), settings_of(f"Slothful_{name}")
        assert simple == full
        changed = settings_of(f"Slothful_{name}Simple", slothful=7, out_blend=0.5).as_dict()
        assert (changed["in_slothful"], changed["out_slothful"]) == (7, 7)
        assert (changed["out_k_blend"], changed["out_v_blend"]) == (0.5, 0.5)
        assert changed["in_k_blend"] == 0


def test_a_node_for_sleep_lets_something_sleep():
    settings = settings_of("Slothful_Sleep")
    assert settings.method == "Sleep only"
    assert settings.sleep != "nothing"
    assert settings.changed().keys() == {"method", "sleep"}


def test_sleep_the_negative_side_and_a_method_join_in_any_order():
    sleep = NODES["Slothful_Sleep"].KIND.settings({"sleep_every": 3})
    tile = NODES["Slothful_NearSightedTile"].KIND.settings({"tile_size": 20})
    negative = NODES["Slothful_NegativePrompt"].KIND.settings({"negative_every": 4})
    rows = itertools.permutations([sleep, tile, negative])
    first, *others = (functools.reduce(KINDS.joined, row, None) for row in rows)
    assert all(each == first for each in others)
    values = first.changed()
    assert (values["negative"], values["negative_every"]) == ("asleep", 4)
    assert (values["method"], values["tile_size"]) == ("Near-sighted Tile", 20)
    assert (values["sleep"], values["sleep_every"]) == ("deep blocks", 3)


def test_a_method_replaces_another_one_whole():
    merging = NODES["Slothful_TokenMerging"].KIND.settings({"block_weights": "IN01=0"})
    tile = NODES["Slothful_NearSightedTile"].KIND.settings({})
    both = KINDS.joined(KINDS.joined(None, merging), tile)
    assert both.changed() == {"method": "Near-sighted Tile"}


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_originals_nodes_have_its_inputs_in_its_order(name):
    defaults = [options["default"] for _, options in inputs_of(name).values()]
    assert defaults == ORIGINAL[name]
    assert NODES[name].DEPRECATED
    assert settings_of(name).kept_token == "first"


def test_the_originals_node_takes_each_sides_strength_for_the_other_side():
    settings = settings_of("SlothfulAttention", in_slothful=9.0, out_slothful=3.0)
    assert (settings.in_slothful, settings.out_slothful) == (3.0, 9.0)
    settings = settings_of("NearSightedAttention", in_slothful=9.0, out_slothful=3.0)
    assert (settings.in_slothful, settings.out_slothful) == (9.0, 3.0)


def test_block_weights_are_checked_before_anything_runs():
    node = NODES["Slothful_SlothfulAttention"]
    assert node.VALIDATE_INPUTS("in01=0.5, OUT03=0") is True
    assert node.VALIDATE_INPUTS() is True
    assert "block_weights has no block 'IN99'" in node.VALIDATE_INPUTS("IN99=1")
    assert "between 0 and 2, got '3'" in node.VALIDATE_INPUTS("IN01=3")
    assert not hasattr(NODES["Slothful_Sleep"], "VALIDATE_INPUTS")


def test_contradictions_are_refused_in_our_words():
    with pytest.raises(ValueError, match=r"between 0 and 0\.5 with strides"):
        settings_of("Slothful_TokenMerging", merge_ratio=0.6, merge_stride_x=1, merge_stride_y=2)
    assert issubclass(SettingsError, ValueError)


def test_the_japanese_texts_are_in_step():
    assert NODE_TEXTS.read_text(encoding="utf-8") == node_texts(), (
        "run `python -m standalone.documentation`"
    )


def test_every_text_of_a_node_is_in_japanese():
    translations = set(json.loads(JAPANESE.read_text(encoding="utf-8")).values())
    texts = json.loads(node_texts())
    assert texts.keys() == NODES.keys()
    for name, node in texts.items():
        assert node["description"] in translations
        assert node["inputs"].keys() == inputs_of(name).keys()
        assert {each["name"] for each in node["inputs"].values()} <= translations


def test_the_folder_is_nothing_outside_comfyui():
    """Imported by anybody else, it loads nothing."""
    code = (
        f"import sys, importlib; sys.path.insert(0, {str(ROOT.parent)!r})\n"
        f"found = importlib.import_module({ROOT.name!r})\n"
        "print(sorted(n for n in vars(found) if n != 'sys' and n[:2] != '__'), "
        "[n for n in sys.modules if 'slothful' in n.partition('.')[2]])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


def test_a_second_copy_adds_nothing_and_says_so(monkeypatch, caplog):
    module = type(sys)("other_copy")
    module.__file__ = "/nodes/slothful-attention/slothful_comfy/nodes.py"
    monkeypatch.setitem(sys.modules, "other_copy", module)
    others = type("Slothful_Sleep", (), {"__module__": "other_copy"})
    registered = SimpleNamespace(NODE_CLASS_MAPPINGS={"Slothful_Sleep": others})
    monkeypatch.setitem(sys.modules, "nodes", registered)
    with caplog.at_level(logging.WARNING):
        assert FACE._nodes_to_add() == {}
    assert caplog.text.count("Slothful Attention is installed twice") == 1
    assert "/nodes/slothful-attention is used" in caplog.text


def test_the_original_keeps_its_names_where_it_is_installed_too(monkeypatch):
    registered = SimpleNamespace(NODE_CLASS_MAPPINGS={"SlothfulAttention": object})
    monkeypatch.setitem(sys.modules, "nodes", registered)
    added = FACE._nodes_to_add()
    assert NODES.keys() - added.keys() == {"SlothfulAttention"}
