"""What people and programs ask of the store: one module for each noun, which turns a filter into items and their documents.

The commands, the API and the console are skins over this package: they parse a question, and show the answer.
"""

PAGE_SIZE = 50  # items of a list, unless a question says otherwise
