"""Every text of the page has its Japanese translation."""

import ast
import json
import re
from pathlib import Path

from slothful import Settings
from slothful_webui.options import LEVELS
from slothful_webui.page import GROUPS, SITE_ROWS
from slothful_webui.presets import SHIPPED, PresetFolders

ROOT = Path(__file__).resolve().parents[1]
JAPANESE = json.loads((ROOT / "localizations" / "ja_JP.json").read_text(encoding="utf-8"))
PLACEHOLDER = re.compile(r"\{\w+\}")


def texts_of_scripts():
    """The texts that the scripts translate, with those that are cut into lines put together."""
    found = set()
    for path in (ROOT / "javascript").glob("*.js"):
        source = re.sub(r'"\s*\+\s*"', "", path.read_text(encoding="utf-8"))
        found |= set(re.findall(r'\btext\("((?:[^"\\]|\\.)*)"', source))
    assert len(found) > 20
    return found


def test_every_text_of_the_scripts_is_translated_with_its_values():
    for text in texts_of_scripts() | {"base", "img2img", "hires"}:
        assert text in JAPANESE, text
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(JAPANESE[text]))


def test_every_preset_is_translated():
    presets = PresetFolders([SHIPPED])
    for name in presets.names():
        assert name in JAPANESE
        assert presets.load(name).description in JAPANESE, name


def test_every_parameter_is_translated():
    for parameter in Settings.parameters():
        assert parameter.label in JAPANESE, parameter.name
        assert parameter.help in JAPANESE, parameter.name


def test_every_heading_and_level_is_translated():
    headings = [*GROUPS.values(), *SITE_ROWS.values(), *LEVELS]
    assert {heading for heading in headings if heading} <= JAPANESE.keys()


def test_nothing_is_translated_that_no_page_shows():
    sources = [
        *ROOT.glob("slothful*/*.py"),
        *ROOT.glob("scripts/*.py"),
        *ROOT.glob("standalone/*.py"),
    ]
    in_python = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    presets = PresetFolders([SHIPPED])
    shown = in_python | texts_of_scripts() | set(presets.names()) | {"base", "img2img", "hires"}
    shown |= {presets.load(name).description for name in presets.names()}
    shown |= {text for p in Settings.parameters() for text in (p.label, p.help)}
    assert JAPANESE.keys() <= shown
