from sweep.report._page import Heading, is_whole, write_report
from sweep.report._stories import stories
from sweep.report._table import print_table

__all__ = ["Heading", "is_whole", "print_table", "stories", "write_report"]
