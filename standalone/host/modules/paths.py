"""Folders."""

data_path = "outputs"
