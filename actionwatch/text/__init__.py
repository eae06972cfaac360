"""Text and file formats: YAML with positions, JSON documents, options, templates, time intervals, logs."""
