"""Views, one module per subject; each states its methods and the right it asks for."""
