"""What was asked for: numbers and words. Imports nothing else of the core, and no torch."""
