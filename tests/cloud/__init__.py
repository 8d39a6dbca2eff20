"""Tests against real object stores on the loopback, and the servers and proxies that they need."""
