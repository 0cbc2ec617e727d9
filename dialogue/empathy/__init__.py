"""How empathetic a reply is, judged offline."""
