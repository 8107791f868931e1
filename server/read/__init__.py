"""Every question: the state now and at an earlier revision, search, tree, history, charts."""
