"""CSC-SR: what its choices and its mapping are worth, and what it has learned."""
