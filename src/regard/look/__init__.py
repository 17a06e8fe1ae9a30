"""Looking inside, from outside: recorded attention and pictures."""
