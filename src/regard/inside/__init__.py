"""What happens inside a model on its way to one answer: recorded, measured, explained, shown."""
