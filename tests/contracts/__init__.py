"""Contracts: what every one of a kind must pass."""
