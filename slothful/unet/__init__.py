"""Where it sits in a model: the only room that registers hooks, each undone by a handle."""
