"""The formats in which messages and records leave actionwatch: the bodies of webhooks, and the files of exports."""
