"""The questions of people and programs to the store: one module for each noun, from a filter to items and documents.

The commands, the API and the console are skins over this package: they parse a question, and show the answer.
"""

PAGE_SIZE = 50  # items of a list, unless a question says otherwise
