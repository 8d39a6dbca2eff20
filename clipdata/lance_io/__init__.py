"""The only package that imports Lance: tables, the writing of rows and columns, and their history.

It translates Lance's errors into clipdata's. It knows locations and lineage, and nothing of models, steps or sources.
"""

import os

# Read once, when lance is imported.
os.environ.setdefault("LANCE_LOG", "error")  # its warnings are about its own plans
os.environ.setdefault("LANCE_MAX_IOP_SIZE", str(64 << 20))  # longer reads are cut, and joined by a copy
