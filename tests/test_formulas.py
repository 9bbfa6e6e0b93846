"""The page's own formulas against the core's: the page's code runs under Node, or in Chromium."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from slothful import Moment, Settings
from slothful.planning.planner import site_strength
from slothful.planning.schedule import depth_ratio, time_ratio
from slothful_webui.controls import CONTROLS
from tests.browser import CHROMIUM, QUIET

SCRIPT = Path(__file__).resolve().parents[1] / "javascript" / "slothful_formulas.js"
PROGRAM = """
const {timeRatio, depthRatio, strength} = slothfulAttention.formulas;
const answers = CASES.map(({values, site, time}) => [
    timeRatio(time, values.peak_time, values.time_decay),
    depthRatio(site.depth, values.in_depth_decay),
    strength(values, site, time),
]);
"""


class Site:
    """What the core's formula reads of a site."""

    def __init__(self, name, depth):
        self.name, self.depth = name, depth
        self.side = {"I": "in", "M": "middle", "O": "out"}[name[0]]


def run_script(program):
    """The value of `answers` after a program that can use the page's formulas."""
    source = SCRIPT.read_text() + program
    if shutil.which("node"):
        source += "console.log(JSON.stringify(answers));"
        run = dict(input=source, capture_output=True, check=True, text=True)
        return json.loads(subprocess.run(["node", "-"], **run).stdout)
    if CHROMIUM is None:
        pytest.skip("there is neither Node nor Chromium to run the page's formulas")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            return browser.new_page().evaluate(f"() => {{ {source} return answers; }}")
        finally:
            browser.close()


def random_cases(count):
    """Values of all numbers within their declared ranges, sites and times."""
    rng = random.Random(7)
    for _ in range(count):
        values = {
            control.name: rng.uniform(limits.least or limits.minimum, limits.maximum)
            for control in CONTROLS
            if (limits := control.parameter).kind in ("float", "weights")
        }
        site = Site(rng.choice(["IN01", "IN08", "M00", "OUT03", "OUT11"]), rng.choice([1, 2, 4, 8]))
        yield values, site, rng.random()


def test_the_pages_formulas_agree_with_the_cores():
    cases = list(random_cases(200))
    sent = [{"values": values, "site": vars(site), "time": time} for values, site, time in cases]
    answers = run_script(PROGRAM.replace("CASES", json.dumps(sent)))
    for (values, site, time), answer in zip(cases, answers, strict=True):
        names = {control.name for control in CONTROLS if control.is_site}
        settings = Settings.from_mapping(
            {name: value for name, value in values.items() if name not in names}
        ).replace(block_weights={site.name: values[site.name]})
        expected = [
            time_ratio(time, settings.peak_time, settings.time_decay),
            depth_ratio(site.depth, settings.in_depth_decay),
            site_strength(settings, Moment(0.0, time), site),
        ]
        assert answer == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_dragged_value_lands_on_the_steps_of_its_parameter():
    limits = {"minimum": 0, "maximum": 1, "step": 0.05}
    dragged = [-1, 0, 0.024, 0.026, 0.3499, 0.97, 0.98, 2]
    program = f"const answers = {dragged}.map((value) => slothfulAttention.formulas.onStep(value,"
    answers = run_script(f"{program} {json.dumps(limits)}));")
    assert answers == [0, 0, 0, 0.05, 0.35, 0.95, 1, 1]
