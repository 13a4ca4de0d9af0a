"""Grid, plan, extraction and trials on Ray."""
