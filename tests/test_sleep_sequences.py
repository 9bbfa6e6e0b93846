"""Whatever calls follow each other, a U-Net that sleeps gives what a slow formulation gives."""

import math
import random

import pytest
import torch

import slothful
from slothful import PassClock
from tests.sleeping import PARTS, STEPS, Request, SlowSleep, sleeping
from tests.unets import make_unet, module_state

REQUESTS = {
    "joined": [(0, 1)],
    "split": [(0,), (1,)],
    "positive alone": [(1,)],
    "other prompt": [(2, 1)],
    "larger": [(0, 1)],
    "AND": [(0, 2, 1), (3, 1)],
}
EVENTS = ("joined", "joined", *REQUESTS)

SAMPLERS = {
    "first order": lambda time, after, chance: [time],
    "second order": lambda time, after, chance: [time, (time + after) // 2],
    "Heun": lambda time, after, chance: [time, after],
    # goes where it likes, and tries again from where it was
    "adaptive": lambda time, after, chance: [time, chance.randrange(25, int(time) + 25), time],
}
"""The timesteps at which a sampler calls the U-Net in a step that begins at a time."""

EVERY = 3


class SlowRule:
    """Which calls sleep, in plain words."""

    def __init__(self, threshold: float):
        self.threshold = threshold
        self.forget()

    def forget(self) -> None:
        self.last_time = math.inf
        self.known: dict = {}  # the step in which each call was last computed and kept
        self.computed: dict = {}  # (prompts, latents, outputs) by place and shape, oldest first

    def begin(self, time: float) -> None:
        if time > self.last_time:
            self.forget()
        self.last_time = time
        self.step = max(index for index, begun in enumerate((1e9, *STEPS[1:])) if begun >= time)

    def sleeps(self, key, latent) -> bool:
        since = self.step - self.step % EVERY
        if self.step == since or self.known.get(key, -1) < since:
            return False
        return not self.threshold or self.change(key, latent) <= self.threshold

    def change(self, key, latent) -> float:
        number, (prompts, _) = key
        earlier = self.computed.get((number, latent.shape), [])
        if len(earlier) < 2 or any(known != prompts for known, _, _ in earlier[-2:]):
            return math.inf
        (_, x0, y0), (_, x1, y1) = earlier[-2:]
        return max(
            float((y1[r] - y0[r]).abs().mean() / y1[r].abs().mean())
            * float((latent[r] - x1[r]).abs().mean() / (x1[r] - x0[r]).abs().mean())
            for r in range(len(latent))
        )

    def computed_now(self, key, latent, output) -> None:
        asked_for = (self.step + 1) % EVERY and self.step + 1 < len(STEPS)
        if asked_for or self.threshold:
            self.known[key] = self.step
        number, (prompts, _) = key
        self.computed.setdefault((number, latent.shape), []).append((prompts, latent, output))


def fail(request, unet, time, chance) -> None:
    """A call that fails in some module, or at its end where that one sleeps."""

    def interrupt(*args):
        raise InterruptedError

    handles = [
        chance.choice(list(unet.modules())).register_forward_pre_hook(interrupt),
        unet.register_forward_hook(interrupt, prepend=True),
    ]
    with pytest.raises(InterruptedError):
        request.run(unet, time)
    for handle in handles:
        handle.remove()


CASES = [
    *((part, 0, 0) for part in PARTS),
    *((part, threshold, seed) for part in PARTS[3:] for threshold, seed in ((0, 1), (0.4, 0))),
]


@pytest.mark.parametrize(("part", "threshold", "seed"), CASES)
@torch.no_grad()
def test_any_sequence_of_calls_is_what_a_slow_formulation_gives(part, threshold, seed):
    """Split calls, skipped negative rows, other prompts, AND, other sizes, passes, samplers of the
    second order, jumps back in time, a refiner and failures, in any order: a call whose memory does
    not fit is computed.
    """
    chance = random.Random(f"{part} {threshold} {seed}")
    unets = [make_unet("sd1", seed) for seed in (0, 1)]
    slow = [SlowSleep("sd1", part, seed=seed) for seed in (0, 1)]
    states = [module_state(unet) for unet in unets]
    rule, slept = SlowRule(threshold), 0
    settings = sleeping(part, sleep_every=EVERY, sleep_threshold=threshold)
    with slothful.applied(unets[0], settings) as application:
        for name, sampler in zip(("base", "hires"), chance.sample(sorted(SAMPLERS), 2)):
            size = (16, 8) if name == "base" else (24, 8)
            application.begin_pass(name, PassClock(STEPS))
            rule.forget()
            refined = chance.randrange(3, 12)
            index, event, used = 0, "joined", 0
            application.follow(unets[0])
            while index < len(STEPS):
                if index == refined and not used:
                    used = 1
                    application.follow(unets[1])
                    rule.forget()
                if chance.random() < 0.3:
                    event = chance.choice(EVENTS)
                after = STEPS[index + 1] if index + 1 < len(STEPS) else 25.0
                for time in SAMPLERS[sampler](STEPS[index], after, chance):
                    application.begin_step()
                    for number, prompts in enumerate(REQUESTS[event]):
                        wide = (size[0], 16) if event == "larger" else size
                        request = moving(prompts, wide, time, chance)
                        if number == 0 and chance.random() < 0.08:
                            fail(request, unets[used], time, chance)
                            application.begin_step()  # the sampler tries again
                            rule.forget()
                        rule.begin(time)
                        key = (number, request.key)
                        asleep = rule.sleeps(key, request.latent)
                        place = (used, key)
                        expected = slow[used].run(request, time, asleep, place)
                        output = request.run(unets[used], time)
                        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
                        assert asleep == any(
                            type(plan).__name__ == "Sleep" for plan in application.plans.values()
                        )
                        if not asleep:
                            rule.computed_now(key, request.latent, expected)
                        slept += asleep
                if index > 2 and chance.random() < 0.1:
                    index -= 3  # as Restart does
                index += 1
    assert [module_state(unet) for unet in unets] == states
    assert slept


def moving(prompts, size, time, chance) -> Request:
    """Latents move from one end to another as time goes by, now and then by a leap."""
    request, end = Request("sd1", prompts, size, seed=1), Request("sd1", prompts, size, seed=2)
    part = 1 - (time + chance.uniform(0, 40) + 200 * (chance.random() < 0.1)) / 1300
    request.latent = request.latent + part * (end.latent - request.latent)
    return request
