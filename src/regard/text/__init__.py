"""Text in files to ids and back: pairs, what is odd in them, tokenizers. No torch in here."""
