"""How tensors move: functions of tensors and plans. Knows no module and no hook."""
