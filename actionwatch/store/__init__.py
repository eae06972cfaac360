"""The memory of actionwatch: one relational database, one module per table."""
