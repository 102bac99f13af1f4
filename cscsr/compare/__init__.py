"""The comparison of solvers: what `cscsr compare` plans, runs, stores, tabulates and shows."""
