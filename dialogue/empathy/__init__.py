"""How empathetic replies are: EPITOME's mechanisms, and what a model does when it knows the emotion."""
