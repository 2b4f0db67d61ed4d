from . import benchmarks, transforms
