"""What every test can use: object stores on the loopback (`tests/cloud/fixtures.py`), started only when asked for."""

pytest_plugins = ["tests.cloud.fixtures"]
