"""What measures the toolkit: the comparison of Table 1, Figure 5, convergence curves."""
