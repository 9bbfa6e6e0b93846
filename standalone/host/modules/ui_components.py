"""The webui's own gradio components that the script uses."""

import contextlib


@contextlib.contextmanager
def InputAccordion(value, **kwargs):  # noqa: N802
    """An accordion whose header has a check box: the context's value is that box.

    As in the webui the box itself is hidden, has the accordion's id and "-checkbox", and follows
    the one that the page's script puts into the header.
    """
    import gradio

    label, elem_id = kwargs["label"], kwargs["elem_id"]
    checkbox = gradio.Checkbox(value, label=label, elem_id=f"{elem_id}-checkbox", visible=False)
    checkbox.change(None, [checkbox], _js=f"(on) => embeddedHost.setChecked('{elem_id}', on)")
    with gradio.Accordion(label, open=value, elem_id=elem_id, elem_classes=["input-accordion"]):
        yield checkbox
