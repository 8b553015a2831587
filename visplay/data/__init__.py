"""Pictures and rows in: folders, parquet, saved datasets."""
