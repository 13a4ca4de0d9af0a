"""Study files: YAML in, a frozen study out, or all of its mistakes at once."""
