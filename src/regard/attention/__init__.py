"""Attention: scores, masks, the weighted mean, several heads, and the memory of earlier steps.

What is useful on its own, without a model, has its name here.
"""

from regard.attention.masks import causal_mask as causal_mask
from regard.attention.masks import length_mask as length_mask
from regard.attention.masks import masked_softmax as masked_softmax
from regard.attention.pooling import NadarayaWatson as NadarayaWatson
from regard.attention.pooling import attention_pooling as attention_pooling
from regard.attention.scores import SCORES as SCORES
from regard.attention.scores import Additive as Additive
from regard.attention.scores import Bilinear as Bilinear
from regard.attention.scores import Dot as Dot
from regard.attention.scores import Gaussian as Gaussian
from regard.attention.scores import ScaledDot as ScaledDot
from regard.attention.scores import Score as Score
