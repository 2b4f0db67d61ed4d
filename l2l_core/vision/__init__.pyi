from . import benchmarks as benchmarks
from . import datasets as datasets
from . import models as models
from . import pretrained as pretrained
from . import transforms as transforms
