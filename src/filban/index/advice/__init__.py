"""Advice on indexes: the workload, what may help it, and the reasons not to."""
