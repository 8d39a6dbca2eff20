"""The only package that imports Lance: tables, the writing of rows and columns, and their history.

It translates Lance's errors into clipdata's. It knows locations and lineage, and nothing of models, steps or sources.
"""

import os

os.environ.setdefault("LANCE_LOG", "error")  # its warnings are about its own plans; read once, when lance is imported
