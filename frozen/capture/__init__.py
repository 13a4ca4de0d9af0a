"""What is captured of a frozen model: which sites, and what is kept of them."""
