"""The webui runs this at every start. There is nothing to install: it ships all that is needed."""
