"""Tests: one file a module or verb, of the same name; what several of them need stands in files without `test_`."""
