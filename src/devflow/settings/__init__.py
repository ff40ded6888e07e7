"""Django settings and the typed settings of the environment."""
