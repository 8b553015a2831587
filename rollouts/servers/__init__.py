"""vLLM servers as one engine: start them, watch them, take them back."""
