"""Images from code, as extensions ask for them."""

import dataclasses


def StableDiffusionProcessingTxt2Img(sd_model, **values):  # noqa: N802 (the webui's name)
    """A request; what the embedded host does not have is left out."""
    from standalone.processing import Processing

    known = {field.name for field in dataclasses.fields(Processing)}
    return Processing(sd_model, **{name: each for name, each in values.items() if name in known})


def process_images(p):
    """Runs a request without any script."""
    from standalone import processing
    from standalone.runner import ScriptRunner

    return processing.process_images(p, ScriptRunner(script=object()))
