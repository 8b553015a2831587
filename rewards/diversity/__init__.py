"""How alike questions are: BLEU distances, clusters, redundancy."""
