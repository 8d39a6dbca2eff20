"""Pages of the documentation that are made from the code: the reference, and the README of every package.

Nothing here but `hooks` knows mkdocs. Pages come as Markdown, with a list of what lacks a description.
"""
