"""What becomes of sounds on the way to a learner: another sampling rate, and log-mel pictures."""

from l2l_core.data.log_mel import LogMelDataset, log_mel
from l2l_core.data.resampling import resampled

__all__ = ["LogMelDataset", "log_mel", "resampled"]
