"""The drivers of streams: one module per type. The file name is the name of the type in the configuration."""
