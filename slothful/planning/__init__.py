"""What shall happen: pure functions of settings, moment and site, as values that can be drawn.

Imports `slothful.settings` and no torch.
"""
