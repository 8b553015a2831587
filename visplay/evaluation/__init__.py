"""Measuring the Reasoner: benchmarks, scoring, intervals and paired comparisons."""
