"""What actionwatch remembers: one relational database, one module per table."""
