from sweep.report._page import write_report
from sweep.report._table import print_table

__all__ = ["print_table", "write_report"]
