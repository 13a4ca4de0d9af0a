from sweep.report._page import Study, write_report
from sweep.report._table import print_table

__all__ = ["Study", "print_table", "write_report"]
