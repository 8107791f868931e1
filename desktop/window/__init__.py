"""The window: pywebview, what each system has beyond it, its menus, and where it stands."""
