"""A pool of vLLM servers: start them, monitor them, and readmit recovered ones."""
