"""The embedded host: runs the extension's script without the webui.

`modules/` stands for the webui's package of that name, as far as the script uses it; whatever the
script reaches for beyond that raises, as a test wants it.
"""
