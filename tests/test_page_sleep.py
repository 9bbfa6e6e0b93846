"""Sleep on the page, in a headless Chromium: which steps and blocks sleep, and what that leaves.

On the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import re

import pytest

from slothful import FAMILY_SITES, Moment, Settings, noise_level_time
from slothful.planning.sleep import negative_steps, pass_steps
from tests.browser import NEEDS_CHROMIUM

pytestmark = NEEDS_CHROMIUM

BACKGROUND = "dot => getComputedStyle(dot).fill"


@pytest.fixture
def sleeping(page, panel):
    """The page where the deep blocks sleep in two of three steps, in two passes of one size."""
    page.set_size(256, 256)
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    page.choose("method", "Sleep only")
    page.choose("sleep", "deep blocks")
    page.type_number("sleep_every", "3")
    page.wait_until(lambda: panel.locator(".slothful-asleep").count() > 0)
    return page


def planned(count: int) -> list[bool]:
    """Which of so many evenly spaced steps the core lets sleep."""
    settings = Settings(method="Sleep only", sleep="deep blocks", sleep_every=3)
    times = tuple(noise_level_time(1000 * (1 - index / count)) for index in range(count))
    return [not awake for awake in pass_steps(settings, Moment(1000, 0.0, times=times))]


def test_steps_that_sleep_are_hollow_dots(sleeping, panel):
    dots = panel.locator(".slothful-dot.slothful-in")
    asleep = planned(20) * 2
    classes = "dots => dots.map(dot => dot.classList.contains('slothful-asleep'))"
    sleeping.wait_until(lambda: dots.evaluate_all(classes) == asleep)
    fills = [dot.evaluate(BACKGROUND) for dot in dots.all()]
    hollow, filled = ({f for f, a in zip(fills, asleep) if a == kind} for kind in (True, False))
    assert len(hollow) == len(filled) == 1
    assert hollow != filled
    # another rhythm is drawn at once
    sleeping.type_number("sleep_every", "1")
    sleeping.wait_until(lambda: panel.locator(".slothful-asleep").count() == 0)


def test_the_map_shows_which_blocks_sleep_at_the_moment(sleeping, panel):
    scrub = panel.get_by_role("slider", name="Moment")
    scrub.focus()
    scrub.press("Home")
    cells = panel.locator(".slothful-cell")
    sleepers = panel.locator(".slothful-cell[data-asleep]")
    sleeping.wait_until(lambda: sleepers.count() == 0)
    for _ in range(planned(20).index(True)):
        scrub.press("ArrowRight")
    awake = {"OUT11"}  # the last block; the first one has no attention
    deep = set(FAMILY_SITES["SD1, SD2"]) - awake
    names = lambda some: {cell.locator("span").inner_text() for cell in some.all()}  # noqa: E731
    sleeping.wait_until(lambda: names(sleepers) == deep)
    assert names(cells) == deep | awake
    label = panel.get_by_role("button", name=re.compile("^M00: ")).get_attribute("aria-label")
    assert "asleep" in label


def test_what_is_left_is_said_for_the_whole_image_and_what_sleep_holds(sleeping, panel):
    details = sleeping.control("details")
    rows = details.locator("tbody tr")
    shares = lambda: [  # noqa: E731  (in one look: the rows are drawn anew with each answer)
        int(text.split()[0]) for text in details.locator("tbody td:last-child").all_inner_texts()
    ]
    holds = lambda: re.search(  # noqa: E731
        r"Sleep holds about [\d.]+ MiB for each image", details.inner_text()
    )
    sleeping.wait_until(lambda: holds() and len(shares()) == 3)
    first, second, whole = shares()
    assert rows.nth(2).locator("th").inner_text() == "whole image"
    assert min(first, second) <= whole <= max(first, second) < 100
    # with a threshold it is said that less may sleep
    sleeping.type_number("sleep_threshold", "0.2")
    sleeping.wait_until(lambda: "at least" in rows.nth(2).inner_text())
    assert "At most the steps that are drawn so will sleep" in panel.inner_text()
    sleeping.choose("sleep", "nothing")
    sleeping.wait_until(lambda: "Sleep holds" not in details.inner_text())


def test_too_many_blocks_awake_are_refused_where_they_are_set(sleeping, panel):
    sleeping.choose_checkpoint("sdxl")
    sleeping.type_number("sleep_awake_blocks", "11")
    said = "Blocks awake must be between 1 and 8 for this model, got 11"
    sleeping.wait_until(lambda: said in sleeping.control("sleep_awake_blocks").inner_text())
    sleeping.type_number("sleep_awake_blocks", "8")
    sleeping.wait_until(lambda: said not in sleeping.control("enable").inner_text())
    sleeping.choose_checkpoint("small")
    blocks = len(FAMILY_SITES["SD1, SD2"])
    sleeping.wait_until(lambda: panel.locator(".slothful-cell").count() == blocks)


@pytest.mark.parametrize(
    ("way", "mark", "note"),
    [
        ("asleep", "negative side asleep", "the negative side sleeps."),
        (
            "in the attention",
            "negative prompt in the attention",
            "In steps with a mark below, the negative prompt acts in the attention.",
        ),
    ],
)
def test_steps_with_one_side_are_marked_below_and_named(page, panel, way, mark, note):
    page.set_size(256, 256)
    page.choose("method", "Sleep only")
    marks = panel.locator(".slothful-one-sided")
    assert marks.count() == 0
    page.choose("negative", way)
    times = tuple(noise_level_time(1000 * (1 - index / 20)) for index in range(20))
    awake = negative_steps(Settings(negative=way), Moment(1000, 0.0, times=times))
    page.wait_until(lambda: marks.count() == awake.count(False))
    assert note in panel.inner_text()
    scrub = panel.get_by_role("slider", name="Moment")
    scrub.focus()
    scrub.press("Home")
    told = []
    for step in range(20):
        page.wait_until(lambda step=step: f"step {step + 1} of 20" in panel.inner_text())
        told.append(mark not in scrub.get_attribute("aria-valuetext"))
        scrub.press("ArrowRight")
    assert tuple(told) == awake
    page.choose("negative", "computed")
    page.wait_until(lambda: marks.count() == 0)
