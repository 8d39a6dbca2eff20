"""Tests of what goes wrong: hostile archives and addresses, full disks, kills."""
