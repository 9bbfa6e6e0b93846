"""Sites as values, for the tests of plans."""

from slothful import Site


def site_at(name: str = "IN01", index: int = 0, level: int = 1, depth: int = 1) -> Site:
    """A site of a usual size: 320 channels and 8 heads for each level."""
    channels = 320 * min(level, 4)
    return Site(name, index, level, depth, channels, channels, heads=8)
