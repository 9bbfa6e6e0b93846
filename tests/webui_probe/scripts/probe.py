"""An extension for the tests: reports what hangs on the U-Net, and fails where it is told to."""

from modules import script_callbacks, scripts, shared

PLANNED = "planned fault"


class Probe(scripts.Script):
    """Its one argument names a fault: "" (none), "unet" (while sampling) or "process_batch"."""

    def title(self):
        return "Probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        import gradio

        return [gradio.Textbox("", label="Fault", elem_id=self.elem_id("fault"))]

    def process_batch(self, p, fault="", *args, **kwargs):
        if fault == "process_batch":
            raise RuntimeError(PLANNED)
        if fault == "unet":
            self._fail_at_call(2)

    @staticmethod
    def _fail_at_call(number):
        calls = []

        def fail(*_):
            calls.append(1)
            if len(calls) == number:
                handle.remove()
                raise RuntimeError(PLANNED)

        block = shared.sd_model.model.diffusion_model.output_blocks[5]
        handle = block.register_forward_hook(fail)


def _hooks():
    """The number of hooks and of replaced `forward`s on the U-Net that is loaded."""
    count = 0
    for module in shared.sd_model.model.diffusion_model.modules():
        hooks = vars(module)
        count += sum(len(value) for key, value in hooks.items() if key.endswith("_hooks"))
        count += "forward" in hooks
    return count


def _add_routes(_, app):
    @app.get("/probe/hooks")
    def hooks():
        return {"hooks": _hooks()}


script_callbacks.on_app_started(_add_routes)
