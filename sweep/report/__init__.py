from sweep.report._page import Heading, write_report
from sweep.report._stories import stories
from sweep.report._table import print_table

__all__ = ["Heading", "print_table", "stories", "write_report"]
