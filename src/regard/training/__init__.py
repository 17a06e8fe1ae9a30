"""Loss, optimiser, schedule, loop, checkpoints. Knows nothing of decoding: validation comes in as a function."""
