"""Where map work runs. An engine knows how to turn batches into values, and nothing of tables."""
