"""The read-out `concepts`: a dictionary of what a backbone uses, names for its atoms, and a classifier on top.

The system follows Discover-then-Name (Rao, Mahajan, Böhle and Schiele, ECCV 2024, arXiv 2407.14499).
"""
