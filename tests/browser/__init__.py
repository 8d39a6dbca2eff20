"""Tests that open pages in a real headless Chromium."""
