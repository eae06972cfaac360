"""Run the command as `python -m actionwatch`."""

from actionwatch.cli import main

main()
