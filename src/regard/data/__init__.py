"""Ids to batches: the corpus on disk, length buckets, a token budget, an order that depends on (seed, epoch) alone.

The letters of the shapes, here and everywhere else in the package:

B batch   S source positions   T target positions   H heads   D model size   K size of a head   V vocabulary
"""
