"""actionwatch: from the audit log of an Instaclustr organisation to an alert that reaches a person."""

__version__ = "0.1.0"
