"""Text and file formats: YAML with positions, JSON payloads, options, templates, time intervals, logs."""
