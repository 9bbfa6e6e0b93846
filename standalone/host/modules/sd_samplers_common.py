"""What the webui's samplers share."""


def setup_img2img_steps(p, steps=None):
    """(steps of the whole schedule, steps of its tail that are run) for img2img.

    A hires pass names the steps that it wants to run; img2img runs its strength's part.
    """
    if steps is not None:
        strength = min(p.denoising_strength, 0.999)
        return (int(steps / strength) if p.denoising_strength > 0 else 0), steps - 1
    return p.steps, int(min(p.denoising_strength, 0.999) * p.steps)
