"""From pairs to a run folder: the only place where text, training, decoding and metrics meet.

origin -> survey -> recipe -> tokenizers -> encoded corpus -> model -> forecast -> loop -> model folder
"""

from regard.trainer.beginning import inherited as inherited
from regard.trainer.job import make_tokenizers as make_tokenizers
from regard.trainer.listener import Listener as Listener
from regard.trainer.start import resume as resume
from regard.trainer.start import train as train
from regard.trainer.validation import mean_loss as mean_loss
