"""The command line: it parses options and prints; nothing else does."""
