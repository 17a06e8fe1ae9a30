"""The layers between attentions: dropout, norms, positions, feed-forward, residual."""
