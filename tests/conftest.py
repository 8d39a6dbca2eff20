"""What every test can use: object stores on the loopback (`tests/cloud/fixtures.py`), started only when asked for."""

import os

# gcsfs reads it when it is imported, and a test may do so before ours: its probe stalls 60 s where gRPC is shut.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

pytest_plugins = ["tests.cloud.fixtures"]
