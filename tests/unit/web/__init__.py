"""Pure code of the console."""
