"""What the guides' commands work on in the tests: one module a guide, `prepare(folder)`; see tests/test_guides.py."""
