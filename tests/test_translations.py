"""Every text of the page has its Japanese translation."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

from slothful import Settings
from slothful.nothing import REASONS
from slothful.obstacles import NOTES
from slothful_webui import comparison, hypertile, scope
from slothful_webui.language import report
from slothful_webui.options import LEVELS
from slothful_webui.page import GROUPS, SITE_ROWS
from slothful_webui.presets import SHIPPED, PresetFolders
from slothful_webui.sampling import TITLE
from standalone.runner import load_script_class

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


def test_every_line_under_an_image_is_translated_with_its_values():
    texts = {*NOTES, *REASONS}
    for module in (scope, comparison, hypertile):
        texts |= {v for k, v in vars(module).items() if k.isupper() and isinstance(v, str)}
    texts = {text for text in texts if " " in text and text != TITLE}
    assert len(texts) > len(NOTES) + len(REASONS) + 10
    for text in texts:
        assert text in JAPANESE, text
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(JAPANESE[text]))


def test_a_line_under_an_image_is_in_the_pages_language(monkeypatch, caplog):
    load_script_class()  # puts the host's `modules` where they can be imported
    from modules import shared

    page = SimpleNamespace(comments=[])
    page.comment = page.comments.append
    merged = NOTES[5]
    line = (scope.SKIPPED, {"sites": "IN01, IN02", "reason": merged}), scope.NOWHERE
    english = f"Slothful Attention: skipped IN01, IN02 ({merged}); not applied anywhere"
    for language in ("None", "ja_JP", "../ja_JP"):
        monkeypatch.setattr(shared.opts, "localization", language, raising=False)
        report(page, *line)
    assert page.comments[::2] == [english, english]
    assert JAPANESE[merged] in page.comments[1]
    assert JAPANESE[scope.NOWHERE] in page.comments[1]
    assert caplog.text.count(english) == 3
    page.is_api = True
    monkeypatch.setattr(shared.opts, "localization", "ja_JP", raising=False)
    report(page, *line)
    assert page.comments[-1] == english


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
