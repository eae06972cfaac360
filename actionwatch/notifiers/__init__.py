"""Where alerts go: one module per type of receiver, its file name being the type's name in the configuration."""
