"""The webui's side of the extension: the page, the API, the infotext and the life of the hooks."""
