"""The base VLM with its LoRA adapter, and the engine that generates from it."""
