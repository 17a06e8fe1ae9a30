"""Ways to search for the best target, each one file, written once against a step function and a state.

To add a strategy: write its file against interface.py and choose it in translator/conditions.py, `strategy`.
"""

from __future__ import annotations

from regard.decoding.alternatives import Alternatives
from regard.decoding.beam import Beam
from regard.decoding.greedy import Greedy
from regard.decoding.ranking import Ranking
from regard.decoding.sampling import Sampling

__all__ = ["Alternatives", "Beam", "Greedy", "Ranking", "Sampling"]
