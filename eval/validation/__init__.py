"""The data doctor: what is wrong with a set of problems, before anything is trained on it or measured by it."""
