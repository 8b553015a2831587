"""A run folder, finished or not, as one self-contained HTML page."""

from visplay.report.page import write_report

__all__ = ["write_report"]
