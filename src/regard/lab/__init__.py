"""The same data through several models under one budget: what each is worth, and what it costs."""
