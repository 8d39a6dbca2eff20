"""The commands, grouped by what they do. They import what they need when they run, so that `--help` is quick."""
