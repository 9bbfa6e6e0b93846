"""How far each way to reduce keys and values is from the unreduced U-Net."""
