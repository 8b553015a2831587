"""VisPlay: a vision-language model improves itself from unlabelled images (arXiv 2511.15661)."""

__version__ = "0.1.0"
