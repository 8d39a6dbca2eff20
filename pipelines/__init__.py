"""What a person runs: five pipelines from data to a before/after, each one file, and the command line."""
