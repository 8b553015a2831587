"""The configuration: YAML in, checked, every key with its default, bounds and meaning."""
