"""The models that are loaded."""

from modules import shared


class SdModelData:
    """What is loaded now, without loading anything."""

    @property
    def sd_model(self):
        return shared.sd_model


model_data = SdModelData()
