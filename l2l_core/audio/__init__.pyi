from . import features as features
from .features import LogMelDataset as LogMelDataset
from .features import log_mel as log_mel
from .features import resampled as resampled
