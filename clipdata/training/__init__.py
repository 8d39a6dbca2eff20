"""Fine-tuning: from a table and an encoder to a run that holds a tuned one.

Names are loaded on first use, because torch takes seconds to import.
"""
