"""How much of a whole picture's U-Net time is left: sleep, and what others do over time."""
