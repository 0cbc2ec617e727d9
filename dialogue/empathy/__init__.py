"""How empathetic replies are: a scorer, and the experiment that `attune evaluate` makes with it."""
