"""The part of the webui's `modules` package that the script uses, with the same signatures."""
