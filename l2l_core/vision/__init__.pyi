from . import benchmarks, datasets, models, pretrained, transforms
