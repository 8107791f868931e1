"""The window's page: model to HTML, and the little that runs in the browser. Plain data only."""
