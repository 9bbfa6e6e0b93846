"""The webui's own gradio components that the script uses."""

import contextlib


@contextlib.contextmanager
def InputAccordion(value, **kwargs):  # noqa: N802
    """An accordion whose header is a check box: the context's value is the check box."""
    import gradio

    checkbox = gradio.Checkbox(value, **kwargs)
    with gradio.Accordion(kwargs["label"], open=value):
        yield checkbox
