"""Tests that open pages in a real Chromium."""
