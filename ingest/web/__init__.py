"""Lists of URLs: what may be downloaded, how, and what became of each."""
