"""CSC-SR (Gu et al. 2015): its solver, its parts one file each, and its training."""
