"""The notifiers: one module per receiver type. The file name is the name of the type in the configuration."""
