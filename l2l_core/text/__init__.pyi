from . import datasets as datasets
from . import encoders as encoders
from . import tokens as tokens
from .tokens import HFTokenizer as HFTokenizer
from .tokens import Tokenizer as Tokenizer
from .tokens import Vocabulary as Vocabulary
