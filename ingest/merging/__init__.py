"""Merging: a table of pictures and a table of metadata become the one that is trained and scored on."""
