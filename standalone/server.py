"""Serves the embedded host's page, with the extension's own JavaScript and style, at 127.0.0.1."""

from __future__ import annotations

import json
import socket
import threading
import time
import webbrowser
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from standalone.jobs import end_jobs
from standalone.page import Models, build_page
from standalone.processing import InputError
from standalone.runner import ROOT

_HOST = Path(__file__).parent / "page_files"
_LOCALIZATIONS = ROOT / "localizations"


def make_app(models: Models, folder: Path, language: str = "") -> FastAPI:
    """The application: the page at "/", as the webui serves its own.

    `models` are checkpoints by name, `folder` is where pictures go, `language` the stem of a file
    in `localizations`. Raises `InputError` for a language that does not exist.
    """
    page = build_page(models, folder)
    from modules import script_callbacks

    head = _head(language)
    app = FastAPI()
    # before gradio, which takes every address that nobody has taken
    script_callbacks.app_started_callback(page, app)
    app.mount("/javascript", StaticFiles(directory=ROOT / "javascript"))
    app.mount("/host", StaticFiles(directory=_HOST))
    app.add_api_route("/style.css", _style, methods=["GET"])

    @app.middleware("http")
    async def with_scripts(request: Request, call_next) -> Response:
        response = await call_next(request)
        if request.url.path != "/":
            return response
        body = b"".join([part async for part in response.body_iterator])
        return Response(body.replace(b"</head>", head.encode() + b"</head>", 1),
                        response.status_code, media_type="text/html")  # fmt: skip

    return gr.mount_gradio_app(app, page, path="/")


def _head(language: str) -> str:
    """What the webui puts into its page too: translations, scripts in alphabetical order, styles.

    Raises `InputError`.
    """
    translations = "{}"
    if language:
        names = sorted(path.stem for path in _LOCALIZATIONS.glob("*.json"))
        if language not in names:
            raise InputError(f"language must be one of {', '.join(names)}, got {language!r}")
        content = json.loads((_LOCALIZATIONS / f"{language}.json").read_text(encoding="utf-8"))
        translations = json.dumps(content).replace("</", "<\\/")
    scripts = ["host/host.js"]
    scripts += [f"javascript/{path.name}" for path in sorted((ROOT / "javascript").glob("*.js"))]
    return "".join([
        f"<script>window.localization = {translations}</script>",
        *(f'<script src="./{script}"></script>' for script in scripts),
        *(f'<link rel="stylesheet" href="./{style}">' for style in ("style.css", "host/host.css")),
    ])  # fmt: skip


def _style() -> Response:
    return Response((ROOT / "style.css").read_text(encoding="utf-8"), media_type="text/css")


LAST_SECONDS = 3
"""That answers have which are on their way when the server ends; some wait for a lost page."""


class Server:
    """The page on a thread of its own, at a port of this machine alone."""

    def __init__(self, app: FastAPI, port: int = 0):
        """`port` 0 is any that is free. Raises `OSError` for one that is taken."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )

    def __enter__(self) -> Server:
        self._thread.start()
        while self._thread.is_alive() and not self._server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *exception: object) -> None:
        end_jobs()  # one would go on though its page was left
        self._server.should_exit = True
        self._thread.join(LAST_SECONDS)


def serve(models: Models, folder: Path, port: int, language: str, open_browser: bool) -> None:
    """Serve the page until Ctrl+C. Raises `InputError`, `OSError`, `CheckpointError`."""
    with Server(make_app(models, folder, language), port) as server:
        address = f"http://127.0.0.1:{server.port}/"
        print(f"The page is at {address} (Ctrl+C ends it).", flush=True)
        if open_browser:
            webbrowser.open(address)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
