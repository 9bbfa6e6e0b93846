"""The base class of scripts."""

import re

AlwaysVisible = object()
scripts_data: list = []


class Script:
    """One instance for each tab; subclasses override the callbacks that they want."""

    name = None
    section = None
    filename = None
    args_from = None
    args_to = None
    alwayson = False
    is_txt2img = False
    is_img2img = False
    tabname = None
    group = None
    create_group = True
    infotext_fields = None
    paste_field_names = None

    def title(self):
        raise NotImplementedError

    def ui(self, is_img2img):
        pass

    def show(self, is_img2img):
        return True

    def elem_id(self, item_id):
        """The id of a component on the page: script_<tab>_<title>_<item>."""
        title = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        tab = f"{'img2img' if self.is_img2img else 'txt2img'}_"
        return f"script_{tab}{title}_{item_id}"
