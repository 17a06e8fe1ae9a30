"""Inference from trained weights, beside the modules that define what is right; tests hold that both agree.

    engine = Engine(model.decoder)                 # if why_not(model.decoder) is None
    memory = EncoderEngine(model.encoder)(source)  # if why_not(model.encoder) is None; the encoder itself will do too
    state = engine.start(memory)                   # one row a sentence
    logits, state = engine.step(last_ids, state)   # sentences x hypotheses rows, sentence by sentence
    state = state.select(rows)                     # a table: one line a sentence, its hypotheses

Read linear.py (one product), weights.py (what is taken from the modules), cache.py (what a search has seen so far) and
transformer.py (the step) in this order.
"""

from regard.engine.cache import State as State
from regard.engine.encoder import EncoderEngine as EncoderEngine
from regard.engine.transformer import Engine as Engine
from regard.engine.weights import why_not as why_not
