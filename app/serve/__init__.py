"""A real district's processes: the API and the pages on the real clock, and the worker."""
