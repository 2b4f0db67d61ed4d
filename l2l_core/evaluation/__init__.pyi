from . import pictures, published, report, run, statistics
from .published import compare
from .report import Report
from .run import evaluate
from .statistics import mean_ci95
