"""What the webui shares: the loaded model, options and the state of the job."""

import types

sd_model = None
cmd_opts = types.SimpleNamespace()
opts = types.SimpleNamespace()
state = types.SimpleNamespace(interrupted=False, skipped=False, sampling_step=0, sampling_steps=0)
