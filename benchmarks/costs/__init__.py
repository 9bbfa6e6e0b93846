"""Whether an image's seconds are told right: the estimate against the clock."""
