"""The image as operators run it: `python -m tests.image` builds it, runs it without any privilege, and delivers one alert.

Exit status 1 if the image is wrong. Where no engine can run a container, or a container reaches no package index, this reports
that the image was skipped, with exit status 0. In CI (the variable `CI`) on Debian, as root, it installs an engine first.
"""
