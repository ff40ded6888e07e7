"""DevFlow Pro: deploys web projects to your own servers over SSH, and looks after them."""

__version__ = "0.1.0"
