"""Late corrections of settled energy: one version at a time, from readings or from people."""
