"""Files of metadata: parquet, CSV, TSV and JSONL as rows, and the texts they are made of."""
