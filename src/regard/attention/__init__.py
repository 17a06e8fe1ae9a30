"""Attention: scores, masks, the weighted mean, several heads, and the memory of earlier steps."""
