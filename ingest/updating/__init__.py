"""Brings a table up to date with a source: listing, planning, reading, refusing. It knows no particular source."""
