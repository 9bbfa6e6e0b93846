"""One tab of the embedded host's page: a request's fields, the accordion, and the pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from standalone.infotext import parse_infotext, save_png
from standalone.jobs import Progress, interrupt_job, run_job
from standalone.processing import DEFAULT_PROMPT, InputError, Processing
from standalone.runner import ScriptRunner
from standalone.samplers import SAMPLERS


class Tab:
    """txt2img or img2img: the fields of a request, the script's accordion and the pictures."""

    def __init__(
        self, name: str, script: Any, checkpoint: Callable[[], tuple[str, Any]], folder: Path
    ):
        """Build the components. `checkpoint` gives the name and the model of the chosen one."""
        self.name, self.script, self.folder = name, script, folder
        self._checkpoint = checkpoint
        self.fields: dict[str, Any] = {}
        with gr.Row():
            with gr.Column(scale=3):
                self._text("prompt", "Prompt", DEFAULT_PROMPT)
                self._text("neg_prompt", "Negative prompt", "")
            with gr.Column(scale=1, min_width=140):
                generate = gr.Button("Generate", variant="primary", elem_id=self._id("generate"))
                self.stop = stop = gr.Button(
                    "Interrupt", visible=False, elem_id=self._id("interrupt")
                )
                with gr.Row(elem_id=self._id("tools")):
                    paste = gr.Button("Read parameters from the prompt", elem_id="paste", size="sm")
        with gr.Row():
            with gr.Column():
                self._build_fields()
                self.controls = script.ui(name == "img2img")
            with gr.Column():
                self._build_results()
        self.pasted = [*self.fields.values(), *(c for c, _ in script.infotext_fields)]
        paste.click(self.paste_values, [self.fields["prompt"]], self.pasted, show_progress=False)
        stop.click(interrupt_job, queue=False)
        inputs = [*self.fields.values(), *self.controls]
        outputs = [
            self.stop, self.status, self.preview, self.gallery, self.infotext,
            self.generation_info,
        ]  # fmt: skip
        job = generate.click(self._generate, inputs, outputs, show_progress=False)
        # in any case, also after an error
        hide = lambda: [gr.update(visible=False), gr.update(visible=False)]  # noqa: E731
        job.then(hide, None, [stop, self.preview], show_progress=False)

    def _id(self, name: str) -> str:
        return f"{self.name}_{name}"

    def _text(self, name: str, label: str, value: str) -> None:
        self.fields[name] = gr.Textbox(value, label=label, lines=2, elem_id=self._id(name))

    def _slider(self, name: str, label: str, low: float, high: float, step: float, value: float):
        self.fields[name] = gr.Slider(
            low, high, value=value, step=step, label=label, elem_id=self._id(name)
        )

    def _build_fields(self) -> None:
        from modules.ui_components import InputAccordion

        if self.name == "img2img":
            with gr.Column(elem_id="mode_img2img"):
                self.fields["image"] = gr.Image(
                    label="Starting image", type="pil", elem_id="img2img_image", height=220
                )
        with gr.Row():
            self.fields["sampling"] = gr.Dropdown(
                list(SAMPLERS), value="Euler", label="Sampler", elem_id=self._id("sampling")
            )
            self._slider("steps", "Steps", 1, 150, 1, 20)
        with gr.Row():
            self._slider("width", "Width", 64, 2048, 8, 256)
            self._slider("height", "Height", 64, 2048, 8, 256)
        with gr.Row():
            self._slider("cfg_scale", "CFG scale", 1, 30, 0.5, 5)
            self._slider("batch_count", "Batch count", 1, 16, 1, 1)
            self.fields["seed"] = gr.Number(
                -1, label="Seed (-1: random)", precision=0, elem_id=self._id("seed")
            )
        if self.name == "txt2img":
            with InputAccordion(False, label="Hires pass", elem_id=self._id("hr")) as hires:
                self.fields["hr"] = hires
                self._slider("hr_scale", "Upscale by", 1, 4, 0.05, 1.5)
                self._slider("hires_steps", "Hires steps (0: as many)", 0, 150, 1, 0)
                self._slider("denoising_strength", "Denoising strength", 0, 1, 0.01, 0.7)
        else:
            self._slider("denoising_strength", "Denoising strength", 0, 1, 0.01, 0.7)

    def _build_results(self) -> None:
        self.status = gr.HTML("", elem_id=self._id("progress"))
        self.preview = gr.Image(
            label="Preview", interactive=False, visible=False, elem_id=self._id("preview")
        )
        self.gallery = gr.Gallery(
            label="Images", elem_id=self._id("gallery"), columns=4, preview=True, height=420
        )
        self.infotext = gr.Textbox(
            label="Parameters", lines=4, interactive=False, elem_id=self._id("infotext")
        )
        self.generation_info = gr.Textbox(visible=False, elem_id=f"generation_info_{self.name}")

    # -- what its buttons do

    def paste_values(self, text: str) -> list[Any]:
        """What every pasted component shows for an infotext; what it does not name stays."""
        parameters = parse_infotext(text or "")
        width, _, height = parameters.get("Size", "").partition("x")
        by_field = {
            "prompt": parameters["Prompt"], "neg_prompt": parameters["Negative prompt"],
            "steps": parameters.get("Steps"), "sampling": parameters.get("Sampler"),
            "cfg_scale": parameters.get("CFG scale"), "seed": parameters.get("Seed"),
            "width": width or None, "height": height or None,
            "denoising_strength": parameters.get("Denoising strength"),
            "hr": "Hires upscale" in parameters, "hr_scale": parameters.get("Hires upscale"),
            "hires_steps": parameters.get("Hires steps"),
        }  # fmt: skip
        answers = []
        for name, component in self.fields.items():
            value = by_field.get(name)
            if isinstance(component, (gr.Slider, gr.Number)):
                value = _number(value or "")
            answers.append(gr.update() if value is None else value)
        for _, target in self.script.infotext_fields:
            value = target(parameters)
            answers.append(gr.update() if value is None else value)
        return answers

    def _generate(self, *values: Any) -> Iterator[list[Any]]:
        """The answers of the Generate button while a job runs, and at its end."""
        fields = dict(zip(self.fields, values))
        script_arguments = list(values[len(self.fields) :])
        keep = gr.update()
        try:
            request = self._request(fields)
            for event in run_job(request, ScriptRunner(script_arguments, self.script)):
                if isinstance(event, Progress):
                    sketch = keep if event.preview is None else gr.update(
                        value=event.preview, visible=True
                    )  # fmt: skip
                    yield [gr.update(visible=True), _bar(event), sketch, keep, keep, keep]
        except (InputError, RuntimeError) as error:
            raise gr.Error(str(error)) from error
        paths = [
            save_png(image, text, self._new_path())
            for image, text in zip(event.images, event.infotexts)
        ]
        infotext = "\n\n".join([event.infotexts[-1], *event.comments])
        # the names make it another text for every request, by which the page knows a new answer
        info = json.dumps({"infotexts": event.infotexts, "files": [path.name for path in paths]})
        took = f"U-Net: {event.unet_seconds:.1f} s"
        yield [keep, took, keep, [str(path) for path in paths], infotext, info]

    def _request(self, fields: dict[str, Any]) -> Processing:
        image = fields.get("image")
        if self.name == "img2img" and image is None:
            raise InputError("image: img2img needs an image to start from")
        seed = -1 if fields["seed"] is None else int(fields["seed"])
        model_name, model = self._checkpoint()
        return Processing(
            model,
            prompt=fields["prompt"],
            negative_prompt=fields["neg_prompt"],
            seed=random.SystemRandom().randrange(2**31) if seed == -1 else seed,
            steps=int(fields["steps"]),
            cfg_scale=fields["cfg_scale"],
            width=int(fields["width"]),
            height=int(fields["height"]),
            sampler_name=fields["sampling"],
            n_iter=int(fields["batch_count"]),
            denoising_strength=fields["denoising_strength"],
            init_images=[image] if image is not None else [],
            enable_hr=bool(fields.get("hr")),
            hr_scale=fields.get("hr_scale", 1.0),
            hr_second_pass_steps=int(fields.get("hires_steps", 0)),
            model_name=model_name,
        )

    def _new_path(self) -> Path:
        number = 1 + sum(1 for _ in self.folder.glob(f"{self.name}-*.png"))
        return self.folder / f"{self.name}-{number:05}.png"


def _bar(progress: Progress) -> str:
    words = f"{progress.name} pass, step {progress.step} of {progress.steps}"
    return (
        f'<label>{words} <progress value="{progress.step}" max="{progress.steps}">'
        "</progress></label>"
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
