"""Pages: templates, static files, units to text; knows ports, not the app."""
