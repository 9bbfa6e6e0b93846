"""Every text of the page has its Japanese translation."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from slothful import Settings, SettingsError
from slothful.planning import reported, told
from slothful.planning.nothing import REASONS
from slothful.unet.obstacles import NOTES
from slothful_webui import comparison, hypertile, infotext, scope
from slothful_webui.language import report
from slothful_webui.options import LEVELS
from slothful_webui.page import GROUPS, SITE_ROWS
from slothful_webui.presets import SHIPPED, Preset, PresetError, PresetFolders
from slothful_webui.sampling import TITLE
from standalone.runner import load_script_class

ROOT = Path(__file__).resolve().parents[1]
JAPANESE = json.loads((ROOT / "localizations" / "ja_JP.json").read_text(encoding="utf-8"))
PLACEHOLDER = re.compile(r"\{\w+\}")
SHOWN_ERRORS = {"PresetError", "PresetFolderError", "FieldError", "SettingsError"}
API_ONLY = ("the arguments", "enabled", "compare")
"""How errors begin that only a caller of the API gets to see."""


def texts_of_scripts():
    """The texts that the scripts translate, with those that are cut into lines put together."""
    found = set()
    for path in (ROOT / "javascript").glob("*.js"):
        source = re.sub(r'"\s*\+\s*"', "", path.read_text(encoding="utf-8"))
        found |= set(re.findall(r'\btext\("((?:[^"\\]|\\.)*)"', source))
    assert len(found) > 20
    return found


def python_trees():
    """The parsed files of the extension."""
    for pattern in ("slothful*/**/*.py", "scripts/*.py", "standalone/*.py"):
        for path in ROOT.glob(pattern):
            yield ast.parse(path.read_text(encoding="utf-8"))


def skeleton(node):
    """A text, with {} for each value in it; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}"
                       for part in node.values)  # fmt: skip
    return None


def errors_shown():
    """Every message of the errors that the page shows, with {} for values."""
    for tree in python_trees():
        for node in ast.walk(tree):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(raised, ast.Call) and getattr(raised.func, "id", "") in SHOWN_ERRORS:
                yield skeleton(raised.args[0])


def pattern_of(form):
    """What a text with {name}s fits, as the page's script reads it."""
    return re.compile("(.+?)".join(map(re.escape, PLACEHOLDER.split(form))), re.DOTALL)


def is_translated(message):
    """Whether a translation fits a message."""
    worded = (t for t in JAPANESE if re.search(r"[a-z]{2} ?\w", PLACEHOLDER.sub("", t)))
    return any(pattern_of(text).fullmatch(message) for text in worded)


def real_messages(folder=Path("/proc/slothful")):
    """What the server says that is put together from parts."""
    presets = PresetFolders([SHIPPED, folder])
    merging = {"method": "Token Merging", "merge_ratio": 1}
    for act in (lambda: presets.save(Preset("mine", Settings())),
                lambda: Settings.from_mapping(merging),
                lambda: Settings.from_mapping({"peak_tim": 1}),
                lambda: Settings.from_mapping({"peak_time": 7})):  # fmt: skip
        with pytest.raises((PresetError, SettingsError)) as error:
            act()
        yield str(error.value)
    yield "cannot delete the preset 'mine' in /presets: Permission denied"
    yield "mine.json: not a preset file (line 1)"
    yield from (parameter.range_text for parameter in Settings.parameters())
    yield "between 0 and 0.75 with strides of 2 x 2"
    yield "between 1 and 8 for this model"


def test_every_error_that_the_page_shows_is_translated():
    messages = [message for message in errors_shown() if re.search("[a-z]", message or "")]
    assert len(messages) > 10
    for message in messages:
        if not message.startswith(API_ONLY):
            assert is_translated(message.replace("{}", "7")), message


def test_every_choice_is_translated():
    for parameter in Settings.parameters():
        for choice in parameter.choices:
            assert choice in {*JAPANESE, "Slothful Attention"}, choice


def test_every_text_of_the_scripts_is_translated_with_its_values():
    for text in texts_of_scripts() | {"base", "img2img", "hires"}:
        assert text in JAPANESE, text
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(JAPANESE[text]))


def test_every_preset_is_translated():
    presets = PresetFolders([SHIPPED])
    for name in presets.names():
        assert name in JAPANESE
        assert presets.load(name).description in JAPANESE, name
        assert presets.load(name).brief in JAPANESE, name


def test_every_parameter_is_translated():
    for parameter in Settings.parameters():
        assert parameter.label in JAPANESE, parameter.name
        assert parameter.help in JAPANESE, parameter.name
        assert parameter.short_help in JAPANESE, parameter.name


def test_every_heading_and_level_is_translated():
    headings = [*GROUPS.values(), *SITE_ROWS.values(), *LEVELS, "Advanced"]
    assert {heading for heading in headings if heading} <= JAPANESE.keys()


def test_every_note_on_a_paste_is_translated():
    assert infotext.LEFT_OUT in JAPANESE
    assert {upgrade.note for upgrade in infotext.UPGRADES if upgrade.note} <= JAPANESE.keys()


def test_every_line_under_an_image_is_translated_with_its_values():
    texts = {*NOTES, *REASONS}
    for module in (told, reported, scope, comparison, hypertile):
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
    line = (told.SKIPPED, {"sites": "IN01, IN02", "reason": merged}), told.NOWHERE
    english = f"Slothful Attention: skipped IN01, IN02 ({merged}); not applied anywhere"
    for language in ("None", "../ja_JP", "ja_JP", "ja_JP"):
        monkeypatch.setattr(shared.opts, "localization", language, raising=False)
        report(page, *line)
    assert page.comments[0] == english
    assert JAPANESE[merged] in page.comments[1]
    assert JAPANESE[told.NOWHERE] in page.comments[1]
    assert caplog.text.count(english) == len(page.comments) == 2  # each line once
    caller = SimpleNamespace(is_api=True, comment=page.comments.append)
    report(caller, *line)
    assert page.comments[-1] == english


def test_nothing_is_translated_that_no_page_shows():
    in_python = {
        text for tree in python_trees() for node in ast.walk(tree) if (text := skeleton(node))
    }
    presets = PresetFolders([SHIPPED])
    shown = in_python | texts_of_scripts() | set(presets.names()) | {"base", "img2img", "hires"}
    for preset in map(presets.load, presets.names()):
        shown |= {preset.description, preset.brief}
    for p in Settings.parameters():
        shown |= {p.label, p.help, p.brief, p.idle, *p.choices}
    composed = list(real_messages())
    for text in JAPANESE.keys() - shown:
        # texts with values, which Python has without the values' names or puts together
        assert PLACEHOLDER.sub("{}", text) in shown or any(
            pattern_of(text).fullmatch(message) for message in composed
        ), text
