"""Ways to search for the best target, each one file, written once against a step function and a state.

To add a strategy: write its file against interface.py and add a line to STRATEGIES in options.py.
"""

from __future__ import annotations

from regard.decoding.beam import Beam
from regard.decoding.greedy import Greedy
from regard.decoding.ranking import Ranking
from regard.decoding.sampling import Sampling

__all__ = ["Beam", "Greedy", "Ranking", "Sampling"]
