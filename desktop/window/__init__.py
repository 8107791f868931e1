"""Windows: pywebview, the native parts for each system, menus, and saved geometry."""
