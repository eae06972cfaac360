"""The composition root: builds everything from the settings, runs it, reloads it, checks it."""
